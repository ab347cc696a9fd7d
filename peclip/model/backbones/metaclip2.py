"""MetaCLIP 2 as a backbone: CLIP's towers with the tokens of many languages."""

from transformers import MetaClip2Model

from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.contract import TextLayout


class MetaCLIP2(CLIP):
    """Hugging Face's ``MetaClip2Model``: the same modules as CLIP, but the end token is not the largest one."""

    family = "MetaCLIP 2"
    model_class = MetaClip2Model

    @property
    def layout(self) -> TextLayout:
        """One start token; the end token is that of the text tower."""
        return TextLayout(starts=1, end=self.clip.text_model.config.eos_token_id)
