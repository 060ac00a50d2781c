"""How regions are named: patterns, each with the kind of region that it names."""

from __future__ import annotations

import re

from stepedit_interpret.lexicon import QUOTE
from stepedit_interpret.numbers import NUMBER, ORDINAL

__all__ = ["EXCEPT", "PLACES", "START", "THE"]

_ZHN = "[一二两三四五六七八九十\\d]+"
_LEAD = r"(?:\b(?:only\s+)?(?:in|on|of|for|to|over|during|within|inside|at|from|just|only)\s+)?"
THE = r"(?:\b(?:the|this|that|his|her|my)\s+)?"
EXCEPT = (
    r"(?:\b(?:everything|everywhere|all(?:\s+of\s+it)?|the\s+(?:whole\s+thing|rest|entire\s+\w+"
    r"|whole"
    r"\s+\w+)|anything)?\s*\b(?:but\s+not|except(?:ing)?(?:\s+for)?|apart\s+from|other\s+than|aside"
    r"\s+from|outside(?:\s+of)?|excluding|(?:everything|all|everywhere)\s+but|but\s+leave\s+out)\s+"
    r"|(?<![删去消清移剔扣免])除(?:了|开)?)"
)
_CLOCK = r"(?:\d+:\d{1,2}(?:\.\d+)?)"
_TIME = rf"(?:(?:{_CLOCK}|{NUMBER}))"
_UNIT = r"(?:\s*(?:seconds?|secs?|s|秒钟?)\b|\s*秒钟?)"
_SENTENCE = r"(?:sentences?|lines?|utterances?|phrases?)"
ENDING = r"(?:ending|end|very\s+end|conclusion|outro|closing|finish)"
START = r"(?:beginning|start|opening|intro|introduction)"

PLACES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("occurrence", rf"{_LEAD}{THE}(?P<ord>{ORDINAL})\s+(?:word\s+|time\s+)?(?P<q>{QUOTE})"),
        ("occurrence", rf"第(?P<zord>{_ZHN})[个处次]\s*(?P<q>{QUOTE})"),
        (
            "words",
            rf"{_LEAD}{THE}\b(?:words?|phrases?|part|bit|name|line"
            rf"|sentence)\s+(?:where\s+\w+\s+says?"
            rf"\s+)?(?P<q>{QUOTE})",
        ),
        ("inside", rf"{_LEAD}\b(?:the|this)\s+(?:words?|phrase|name)\s+(?P<w>{QUOTE}"
         rf"|[\w'-]+)\s+(?:in|of|from)\s+{THE}"
                   rf"(?:(?P<ord>{ORDINAL})\s+{_SENTENCE}|{_SENTENCE}\s+(?P<n>{NUMBER}))"),
        ("words", rf"{_LEAD}\b(?:the|this)\s+(?:words?|phrase|name)\s+(?P<w>(?!(?:before|after"
                  rf"|following|that|in|on)\b)[\w'-]+)"),
        (
            "span",
            rf"\b(?:from|between)\s+(?:seconds?\s+)?(?P<a>{_TIME}){_UNIT}?\s*(?:to|and|until|till"
            rf"|through|up\s+to"
            rf"|-)\s*(?:seconds?\s+)?"
            rf"(?P<b>{_TIME}){_UNIT}?",
        ),
        ("span", rf"从?第?(?P<a>{_TIME}){_UNIT}?(?:到|至|-|~)第?(?P<b>{_TIME}){_UNIT}(?:之间"
                 rf"|这?段)?"),
        ("span", rf"{_LEAD}(?<![\w.])(?P<a>{_TIME}){_UNIT}?\s*(?:-|to)\s*(?P<b>{_TIME}){_UNIT}"),
        (
            "edge",
            rf"{_LEAD}{THE}(?P<side>first|last|final|opening|closing|initial)\s+(?P<n>{NUMBER}"
            rf"|couple\s+of)"
            rf"{_UNIT}(?:\s+of\s+(?:it|the\s+\w+))?",
        ),
        ("edge", rf"(?P<side>前|开头|头|最后|后|末尾|最初)的?(?P<n>{NUMBER})秒钟?"),
        ("span", rf"{_LEAD}[\[(]\s*(?P<a>{_TIME}){_UNIT}?\s*[,;-]\s*"
                 rf"(?P<b>{_TIME}){_UNIT}?\s*[\])]"),
        ("span", rf"{_LEAD}(?P<a>{_CLOCK})\s*(?:-|–|—|to|until|till|through)\s*(?P<b>{_CLOCK})"),
        ("span", rf"{_LEAD}\b(?:the\s+)?seconds?\s+(?P<a>{_TIME})\s*(?:-|–|to|and|through"
         rf"|until)\s*(?P<b>{_TIME})"),
        ("after", rf"\b(?:everything\s+|anything\s+)?(?:after|from|past|beyond"
                  rf"|starting\s+(?:at|from))\s+(?:the\s+)?(?:(?P<a>{_TIME})"
                  rf"(?:{_UNIT}|-second|(?<=:\d\d))"
                  rf"|second\s+(?P<a2>{_TIME}))(?:\s+(?:on(?:wards?)?|mark(?:\s+on)?))*"),
        ("before", rf"\b(?:everything\s+)?(?:before|(?:up\s+)?until|up\s+to|till)\s+(?:the\s+)?"
                   rf"(?:(?P<a>{_CLOCK})|second\s+(?P<a2>{_TIME}))(?:\s+mark)?"),
        ("after", rf"(?P<a>{_TIME})秒(?:钟)?(?:之后|以后|后|起)"),
        ("before", rf"\b(?:everything\s+)?(?:before|until|up\s+to|till)\s+(?:the\s+)?(?P<a>{_TIME})"
                   rf"{_UNIT}(?:\s+mark)?"),
        ("before", rf"(?P<a>{_TIME})秒(?:钟)?(?:之前|以前|前)"),
        (
            "sentences",
            rf"{_LEAD}{THE}(?P<ord>{ORDINAL})\s+(?P<n>{NUMBER}|couple\s+of)\s+{_SENTENCE}",
        ),
        (
            "ordinals",
            rf"{_LEAD}{THE}(?P<ord>{ORDINAL})(?:\s*,\s*{THE}(?P<ord3>{ORDINAL}))?\s*,?\s+and"
            rf"\s+{THE}"
            rf"(?P<ord2>{ORDINAL})\s+{_SENTENCE}",
        ),
        (
            "range",
            rf"\b(?:(?:everything|anything|all|every\s+sentence|whatever\s+comes)\s+)?"
            rf"(?P<rel>from|after|past|since|following|starting\s+(?:with|at|from)|with|before"
            rf"|up\s+to|until|till|through)\s+"
            rf"(?:and\s+including\s+)?(?:the\s+)?(?:(?P<ord>{ORDINAL})\s+{_SENTENCE}"
            rf"|{_SENTENCE}\s+(?P<n>{NUMBER}))"
            rf"(?P<on>\s+(?:on(?:wards?)?|forward|(?:up\s+)?(?:to|until)\s+the\s+end|and\s+(?:on"
            rf"|beyond)))?",
        ),
        ("middle", rf"{_LEAD}\b(?:the|its)\s+middle\s+{_SENTENCE}|中间(?:那|的)?一?句话?"),
        ("range", rf"从?第(?P<zord>{_ZHN})(?:个句子|句话?|句)"
                  rf"(?P<zrel>开始|起|以后|之后|往后|以前|之前|后面|前面)"
                  rf"的?(?:所有|全部|内容|部分|都|句子)*"),
        ("sentences", rf"{_LEAD}{THE}(?P<ord>{ORDINAL})\s+(?:spoken\s+)?{_SENTENCE}"),
        (
            "numbered",
            rf"{_LEAD}\b{_SENTENCE}\s+(?:number\s+)?(?P<n>{NUMBER})(?:\s*(?P<j>and|to|through|-"
            rf"|,)\s*"
            rf"(?P<m>{NUMBER}))?",
        ),
        ("zsentences", rf"(?<!倒数)第(?P<zord>{_ZHN})句?[、和跟与](?:第)?(?P<zord2>{_ZHN})句话?"),
        ("zsentences", rf"(?<!倒数)第(?P<zord>{_ZHN})句?话?[、和跟与](?P<zend>最后一句|末句)话?"),
        ("zsentences", rf"(?<!倒数)第(?P<zord>{_ZHN})句?话?(?:到|至)第?(?P<zto>{_ZHN})句话?"),
        ("zsentences", rf"(?<!倒数)第(?P<zord>{_ZHN})(?:个句子|句话?|句)"),
        ("zsentences", rf"(?P<zside>前|后|最后|最前|开头|首|末|头|尾|倒数第?|最末"
                       rf"|结尾)的?(?P<zn>{_ZHN})?(?:个句子|句话?)"),
        ("paragraph", rf"{_LEAD}{THE}(?P<ord>{ORDINAL})\s+paragraph"),
        ("paragraph", rf"(?:第(?P<zord>{_ZHN})|(?P<zlast>最后一?))(?:段话?|个段落|段落)"),
        ("lastwords", rf"{_LEAD}{THE}(?P<ord>{ORDINAL})(?:\s+(?P<n>{NUMBER}"
                      rf"|couple\s+of))?\s+words?"),
        ("half", rf"{_LEAD}{THE}(?P<ord>first|second|last)\s+half(?:\s+of\s+(?:it|the\s+\w+))?"),
        ("half", r"(?P<zhalf>前|后)半(?:段|部分|句)"),
        ("speaker", r"\b(?:what\s+)?speaker\s+(?P<who>[a-z]\b|\d+)(?:\s+says|'s(?:\s+(?:voice"
                    r"|part|lines))?)?"),
        ("speaker", r"(?:说话人|讲话人|发言人)(?P<who>[a-z0-9_甲乙丙丁]+)(?:说)?的?(?:话|部分"
                    r"|声音)?"),
        ("place", rf"{_LEAD}\b(?:the|its)\s+(?:very\s+)?(?P<end>{ENDING}"
                  rf"|{START})(?:\s+of\s+(?:it|the\s+"
                  r"(?:recording|clip|audio|speech)))?"),
        ("place", r"(?P<zend>结尾|末尾|开头)(?:部分|处)?"),
        ("whole", r"\b(?:(?:in|of|over|through)\s+)?(?:the\s+)?(?:whole|entire)\s+(?:thing"
                  r"|recording|clip|"
                  r"audio|speech|text|file|utterance|track)\b|\ball\s+of\s+it\b|\bthroughout\b"
                  r"|整段|全部|整个|[这那]段(?:录音|音频|语音|声音|视频)|整体"),
        ("rest", r"\b(?:the\s+)?(?:rest|others?|(?:everything|all|anything)\s+else"
         r"|remaining\s+\w+)(?:\s+of\s+(?:it|the\s+\w+))?"
                 r"|其余的?|其他的?|剩下的?"),
        ("pronoun", r"\b(?:in\s+|of\s+)?(?:that|this|the\s+same)\s+(?:sentence|line|word|part|bit"
                    r"|phrase|"
                    r"section|one|passage|segment)\b|\bthere\b|这[句段个]话?|那[句段个]话?|该句"),
        ("words", rf"{_LEAD}(?P<q>{QUOTE})(?:这?[个几]?[字词]|这?句话?)?"),
    )
)  # fmt: skip
