"""Make a mistake in a configuration, and check the message."""

import yaml


def change(config, **entries):
    """Change entries of a configuration; ``data__val=1`` is that of ``data: {val: 1}``."""
    content = yaml.safe_load(config.read_text())
    for name, value in entries.items():
        *path, last = name.split("__")
        part = content
        for key in path:
            part = part[key]
        part[last] = value
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    return config


def assert_refused(result, *says):
    """Check that stderr is one line with these texts, and the status 2."""
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("peclip: error: ")
    for part in says:
        assert str(part) in result.err
    assert result.status == 2


def assert_no_run(place):
    """Check that no run has left a file or folder."""
    assert not (place / "runs").exists()


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
