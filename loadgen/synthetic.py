"""Prompts of a wanted length without a tokenizer: common English words, each one token in the vocabularies of today. Pure."""

from functools import lru_cache

import msgspec
import numpy as np

BLOCK_TOKENS = 512
"""What one prefix id stands for, as in the Mooncake traces."""
BLOCKS_KEPT = 4096
"""About 10 MB; blocks made again are the same."""

_TEXT = (
    "the of and to in is you that it he was for on are as with his they be at one have this from or had by hot but some "
    "what there we can out other were all your when up use word how said an each she which do their time if will way about "
    "many then them would write like so these her long make thing see him two has look more day could go come did my sound "
    "no most number who over know water than call first people may down side been now find any new work part take get place "
    "made live where after back little only round man year came show every good me give our under name very through just "
    "form much great think say help low line before turn cause same mean differ move right boy old too does tell set three "
    "want air well also play small end put home read hand port large add even land here must big high such follow act why "
    "ask men change went light kind off need house picture try us again animal point mother world near build self earth "
    "father head stand own page should country found answer school grow study still learn plant cover food sun four thought "
    "let keep eye never last door between city tree cross since hard start might story saw far sea draw left late run done "
    "while press close night real life few stop open seem together next white children begin got walk example ease paper "
    "often always music those both mark book letter until mile river car feet care second group carry took rain eat room"
)
_WORDS = tuple(_TEXT.split())
BYTES_PER_TOKEN = sum(len(word) + 1 for word in _WORDS) / len(_WORDS)
"""Of such a text, on average; what estimates tokens from bytes is off by as much as this differs from what it assumes."""
_SHARED, _OWN = 0, 1


class Synthetic(msgspec.Struct, frozen=True, kw_only=True, tag="synthetic"):
    """A prompt that is made when it is sent. Equal values are equal texts."""

    tokens: int
    prefix_ids: tuple[int, ...] = ()
    """One a block of `BLOCK_TOKENS`, from the start; equal ids are equal text, in whatever prompt they are."""
    seed: int = 0
    """Of what the ids do not cover; with one seed, a shorter text is the beginning of a longer one."""

    @property
    def text(self) -> str:
        """`tokens` words, but for a template of the server's about as many tokens."""
        blocks = [_block(prefix_id) for prefix_id in self.prefix_ids]
        words = [word for block in blocks for word in block][: self.tokens]
        return " ".join([*words, *_words((_OWN, self.seed), self.tokens - len(words))])


@lru_cache(BLOCKS_KEPT)
def _block(prefix_id: int) -> tuple[str, ...]:
    return _words((_SHARED, prefix_id), BLOCK_TOKENS)


def _words(seed: tuple[int, int], count: int) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    return tuple(_WORDS[index] for index in rng.integers(0, len(_WORDS), count).tolist())
