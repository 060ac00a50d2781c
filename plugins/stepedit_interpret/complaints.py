"""What is said beside requests: complaints, which name what is wrong, and questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from stepedit_core import InterpretationError, Reading
from stepedit_interpret.lexicon import QUOTE
from stepedit_interpret.wording import Wording

__all__ = [
    "elliptic",
    "is_complaint",
    "is_remedy",
    "is_statement",
    "meant",
    "noun_of",
    "refuse_questions",
    "remedied",
]

_COMPLAINT = re.compile(
    r"\b(?:too|there\s+is|there\s+are|i\s+(?:can\s+)?hear|you\s+can\s+hear|not\s+\w+\s+enough)\b"
    r"|\b(?:is|are|sounds?|seems?)\s+(?!like|as)\w+\s*$|太|有点|有些|偏|不够|有.{0,4}(?:杂音|噪)"
)
_REQUESTS = re.compile(r"\b(?:make|please|should|must|want|need|let|turn|let's)\b|请|把|要|帮")
_REMEDY = re.compile(
    r"(?:(?:can|could)\s+you\s+|please\s+)*(?:to\s+)?(?:fix|correct|repair|solve|adjust|handle|take\s+care\s+of"
    r"|deal\s+with|do\s+something\s+about|sort\s+out|get\s+rid\s+of|remove|take|clean|help)"
    r"(?:\s+(?:it|that|this|them|the\s+problem))?(?:\s+(?:out|away|up))?(?:\s+please)?|"
    r"(?:请|帮我|帮忙|给我)?(?:处理|解决|修|弄|调|调整|去|去掉|改|清理|优化|压缩|缩短|剪短|剪|收紧)(?:一下|掉)?吧?"
)
_STATEMENT = re.compile(
    rf"(?:i|he|she|we|they|you|it|this|that|everything|{QUOTE}"
    r"|(?:the|my|his|her|their|its)\s+(?:\w+\s+){0,3}?\w+)\s+"
    r"(?:just\s+|really\s+|always\s+|keeps?\s+)?(?:sounds?|seems?|am|is|are|was|were|feels?|talks?|talking|speaks?|speaking"
    r"|says?|saying|said|comes?\s+across|reads?|mumbles?|rushes?|drags?|has|have|had|picked\s+up|caught|can\s+(?:barely|hardly|not))\s+"
    rf"(?:(?:\w+|{QUOTE})\s+){{0,7}}?(?:\w+|{QUOTE})|"
    r"(?:(?:my|his|her|their|its)\s+(?:\w+\s+)?\w+|i|it|he|she|they|we)\s+(?:drags?|mumbles?"
    r"|rushe?s?|lags?|drones?)(?:\s+on)?|"
    rf"[^,，。]{{0,8}}?(?:太|有点|有些|老是|总是|过于|不够|听起来|听着)(?:[\u3400-\u9fff]|\s*{QUOTE}\s*){{1,10}}"
)
_ASKS = re.compile(
    r"\b(?:make|please|should|must|want|need|let|turn|not|only|but|except|remove|delete|cut|replace|add)\b"
    r"|请|把|要|帮|别|除|只"
)
_ELLIPTIC = re.compile(
    r"(?:再|就|给我|帮我|请)?(?:调|放|弄|变|开)?(?:大|小|高|低|快|慢)声?(?:一?[点些]儿?|得多|很多)?"
)
_NOUN = re.compile(r"声音|音量|音调|音高|语速|速度|声调")
_SUBJECT = re.compile(
    r"(?:and\s+|but\s+)?(?P<of>(?:the|that|this|those|these|all|my|his|her|there\s+is)\s+(?:\w+\s+){0,3}?\w+)"
    r"\s+(?:is|are|was|were|keeps?|bothers?|annoys?|drives?|sounds?|ruins?|distracts?|has|have)\b.*"
)
_TAKE_OUT = re.compile(
    r"(?:please\s+|can\s+you\s+|could\s+you\s+|so\s+)*(?:get\s+rid\s+of|remove|delete|cut|take|clean|kill)"
    r"\s+(?:it|that|this|them|those)(?:\s+(?:out|away|up))?(?:\s+please)?"
)
_QUESTION = re.compile(
    r"(?:is|are|was|were|does|did|why|how)\b(?!\s+(?:(?:it\s+)?possible|there\s+a\s+way|about|not|you"
    r"\s+able))(?!.*\b(?:should|must)\b).*|"
    r"should\s+(?:it|i|we|this|that|the)\b.*\?|"
    r"(?:what|which|who|when|where|do|has|have)\b(?!\s+(?:about|if)\b).*\?|"
    r"(?!.*(?:可以|能|可否|行|好|帮)).*(?:吗|么)[?？]?|.*(?:多少|什么|怎么|为什么|几).*[?？]"
)


def refuse_questions(words: Wording) -> None:
    """Refuse a question: it asks for an answer, not for an edit.

    Raises:
        InterpretationError: if the sentence is one.
    """
    if _QUESTION.fullmatch(words.low.strip()):
        raise InterpretationError(f"{words.brief()!r} is a question; say what has to be done")


def is_complaint(part: Wording) -> bool:
    """Return whether a part says what is wrong, and not yet what has to be done."""
    return _COMPLAINT.search(part.low) is not None and _REQUESTS.search(part.low) is None


def is_remedy(part: Wording) -> bool:
    """Return whether a part only asks to mend what was complained of: "please fix it"."""
    return _REMEDY.fullmatch(part.low.strip(" .!。！")) is not None


def meant(statement: Wording, request: Wording) -> Wording | None:
    """Return "remove the hum" for "the hum is loud, get rid of it", or None."""
    subject = _SUBJECT.fullmatch(statement.low.strip(" .!"))
    if subject is None or _TAKE_OUT.fullmatch(request.low.strip(" .!,")) is None:
        return None
    return Wording.of(f"remove {subject['of']}")


def is_statement(part: Wording) -> bool:
    """Return whether a part says how somebody sounds, which asks for nothing by itself."""
    low = part.low.strip(" .!")
    return _STATEMENT.fullmatch(low) is not None and _ASKS.search(low) is None


def noun_of(text: str) -> str | None:
    """Return what a Mandarin request is about, such as 声音, or None."""
    found = _NOUN.search(text)
    if found is None and re.search("[大小]声", text):
        return "声音"
    return found.group() if found else None


def elliptic(part: Wording, before: str) -> Wording | None:
    """Return "a bit smaller" with the noun of the part before: "声音太大，小一点", or None."""
    noun = noun_of(before)
    low = part.low.strip()
    if noun is None or _ELLIPTIC.fullmatch(low) is None:
        return None
    return Wording(noun + part.raw.strip(), noun + low, part.quotes)


def remedied(readings: Iterable[tuple[Reading, bool]]) -> Iterator[Reading]:
    """Yield readings without complaints that the next request mends.

    "The end is too quiet, make it louder" asks once for more level, where the complaint said.

    Args:
        readings: each with whether it was read from a complaint.
    """
    waiting: Reading | None = None
    for one, complains in readings:
        if waiting is not None:
            same = type(one.edit) is type(waiting.edit)
            if same and one.region in (None, waiting.region):
                one = replace(one, region=waiting.region)
            else:
                yield waiting
        waiting = one if complains else None
        if not complains:
            yield one
    if waiting is not None:
        yield waiting
