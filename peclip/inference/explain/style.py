"""The style of a page: light or dark as the reader's system is, one column on a phone."""

VIEWS = 64
"""Most views of the frames."""

_SHOWN = ",".join(f"#view{number}:checked~.view:nth-of-type({number + 1})" for number in range(VIEWS))

STYLE = (
    """
:root{color-scheme:light dark;--back:#ffffff;--front:#1d1d1f;--soft:#6b6b70;--line:#d9d9de;--for:#0072b2;--against:#d55e00;
--warn:#b3261e;--own:#eef5fb}
@media (prefers-color-scheme:dark){:root{--back:#141416;--front:#ececf0;--soft:#a0a0a8;--line:#3a3a40;--for:#56b4e9;
--against:#e69f00;--warn:#ff8a80;--own:#1c2a36}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--front);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem}p{max-width:75ch;overflow-wrap:anywhere}
small,.view p{color:var(--soft)}
.caution{color:var(--warn);font-weight:600}
.views>input{position:absolute;opacity:0}
.views>label{display:inline-block;margin:0 6px 6px 0;padding:4px 12px;border:1px solid var(--line);border-radius:999px;cursor:pointer}
.views>input:checked+label{background:var(--front);color:var(--back);border-color:var(--front)}
.views>input:focus-visible+label{outline:3px solid var(--for)}
.view{display:none}
.strip{display:flex;flex-wrap:wrap;gap:10px;padding:0;margin:0;list-style:none}
.strip li{width:112px}.strip img{display:block;border-radius:6px}
.strip small{display:block;white-space:nowrap}
.bar{display:block;position:relative;height:10px;margin-top:4px;background:var(--line);border-radius:2px}
.bar::after{content:"";position:absolute;left:50%;top:-2px;bottom:-2px;border-left:1px solid var(--soft)}
.bar i{position:absolute;top:0;bottom:0;border-radius:2px}.for{background:var(--for)}.against{background:var(--against)}
section{overflow-x:auto}
table{border-collapse:collapse;width:100%}th,td{padding:6px 12px 6px 6px;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}td{font-variant-numeric:tabular-nums}.own{background:var(--own)}
.units{list-style:none;margin:0;padding:0}.units li{display:grid;grid-template-columns:minmax(120px,1fr) 140px 52px;gap:10px;
align-items:center}.units small{text-align:right}.units .bar{margin:0}
@media (max-width:640px){thead{display:none}tbody tr{display:block;border-bottom:1px solid var(--line);padding:6px 0}
th,td{display:inline-block;border:0}td:last-child{display:block}td::before{content:attr(data-name);color:var(--soft)}}
svg rect{fill:none;stroke:var(--line)}polyline{fill:none;stroke:var(--for);stroke-width:2}.up{stroke-dasharray:5 3}
"""
    + _SHOWN
    + "{display:block}\n"
)
"""The style sheet."""
