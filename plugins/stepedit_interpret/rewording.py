"""The same request in fewer words: without hesitations, courtesies and other ways round.

A rewording never drops what an edit could depend on: a sentence is read as it stands first, and
what is left of it afterwards has to be understood word for word.
"""

from __future__ import annotations

import re

from stepedit_interpret.lexicon import QUOTE
from stepedit_interpret.numbers import NUMBER, ORDINAL
from stepedit_interpret.wording import Wording

__all__ = ["reworded"]

_START = "^"
"""Begins a rewording that is tried where a clause begins, and nowhere else."""
_STARTS = re.compile(r"^\s*|[,.;:!?，。；：！？]\s*|\b(?:then|and|but|so)\s+")
_COULD = r"(?:could|can|would|will|might|may|couldn't|can't)"

_HESITATIONS = (
    r"\b(?=[uehmao])(?<!\bthe )(?<!\bword )(?<!\ban )(?<!\bdelete )(?<!\bremove )(?<!\badd )"
    r"(?<!\binsert )(?<!\bput )(?:u+h+m*|u+m+|er+m+|er|h+m+|mhm|a+h+|eh|oh|ooh)\b[,.…]*",
    _START + r"(?:(?:ok(?:ay)?|right|alright|all\s+right|yeah|yep|yes|hey|hi|hello|listen|look"
    r"|hello\s+there|hi\s+there|hi\s+team|good\s+(?:morning|evening|afternoon)|great|cool|perfect"
    r"|nice|good|well|now|so|like|basically|honestly|actually|anyway|man"
    r"|dude|gosh|sorry|um|excuse\s+me|you\s+know(?:\s+what)?|let\s+me\s+(?:think|see)"
    r"|let's\s+see|i\s+(?:guess|think|mean|suppose|was\s+thinking)"
    r"|you\s+see|here's\s+the\s+thing|there|thanks|thank\s+you)\b[\s,.!…]+)+(?!one\b)",
    r"[\s,]+\b(?:you\s+know|i\s+(?:guess|think|mean|suppose|reckon)|or\s+(?:something|whatever)"
    r"(?:\s+like\s+that)?|if\s+you\s+will|(?:and\s+)?(?:yeah\s+)?that\s+is\s+(?:it|all))"
    r"\b(?=\s*(?:$|[,.;!?]))",
    # Words that may be meant ("replace left with right, then ...") have to stand between commas.
    r"\s*,\s*(?:yeah|okay|ok|right|man|dude|mate|buddy|folks|guys|dear|darling|my\s+friend|sweetie)"
    r"\b(?=\s*(?:$|[.;!?]))",
    r"(?<=,)\s*(?:you\s+know|like|i\s+mean|basically|so\s+to\s+speak|yeah)\s*(?=,)",
    r"\b(?:basically|literally|honestly|obviously|kind\s+of|sort\s+of|kinda|sorta|actually)\b",
    r"\blike(?=\s+(?:really|super|totally|way|so\b|very|a\s+(?:lot|bit|little|tiny)|slow(?:er)?\b"
    r"|fast|loud|quiet|make\b|remove\b|delete\b|cut\b|put\b))",
    r"(?:^|(?<=[，,。；]))\s*(?:那个|这个|就是说?|嗯+|呃+|额|啊|哎呀?|诶|喂|哈喽|你好|然后呢|怎么说呢?"
    r"|对了|好的?|行|是这样的?|我觉得吧?|我想想|麻烦了?|不好意思|老师|师傅|亲)(?:[,，。…]+|\s+)",
    r"(?<=[，,])\s*(?:呃+|嗯+|额|就是|那个)\s*(?=[，,])[，,]?",
)
_COURTESIES = (
    _START
    + r"(?:(?:just|please|only|i\s+(?:have|need|want))\s+)*(?:(?:a\s+few|two|three|four|several)\s+"
    r"(?:small\s+|quick\s+|little\s+)?(?:things|changes|edits|requests|tweaks|fixes)|here\s+is\s+what\s+i"
    r"\s+(?:want|need)|my\s+(?:wishes|requests)|to\s*-?do|changes|edits)(?:\s+please)?\s*[:-]\s*",
    _START + r"(?:i\s+am|i'm)\s+(?:so|very|really|terribly)?\s*sorry"
    r"(?:\s+to\s+(?:bother|trouble)\s+you)?[,.]?\s*(?:but\s+)?",
    _START + rf"{_COULD}\s+(?:you|i|we|u)\s+(?:(?:please|kindly|possibly|maybe|perhaps|just)\s+)*"
    r"(?:(?:be\s+(?:so|very|as)?\s*(?:kind|good|nice|a\s+\w+)(?:\s+enough)?(?:\s+as)?\s+(?:to|and))"
    r"|be\s+able\s+to|trouble\s+you\s+to|ask\s+you\s+to|get\s+you\s+to|have\s+you|try\s+to"
    r"|help\s+me(?:\s+to)?|go\s+ahead\s+and)?(?=\s+\w)",
    _START
    + r"i(?:\s+would|\s+will|'d|'m|\s+am)?\s+(?:(?:be|really|so|very|ever|most|much|quite)\s+)*"
    r"(?:grateful|thankful|obliged|appreciate|appreciated|happy|glad|delighted|love|like)"
    rf"(?:\s+it)?\s+if\s+(?:you|we)\s+(?:{_COULD})?(?:\s+please)?",
    _START
    + r"(?:it\s+)?would\s+be\s+(?:\w+\s+){0,2}?(?:great|nice|lovely|wonderful|good|helpful|awesome"
    r"|perfect|kind|fantastic|ideal|cool|better)(?:\s+of\s+you)?\s+(?:if\s+(?:you|we)\s+"
    rf"(?:{_COULD}\s+)?|to\s+)",
    _START + r"(?:would\s+it\s+be|is\s+it|is\s+there\s+(?:any|a)\s+way|any\s+(?:chance|way)"
    r"|do\s+you\s+think)(?:\s+at\s+all)?(?:\s+possible)?"
    rf"\s+(?:to|for\s+you\s+to|(?:that\s+)?you\s+{_COULD}(?:\s+maybe)?|we\s+{_COULD})",
    _START + r"(?:please\s+)?(?:be\s+an?\s+\w+|do\s+me\s+a\s+(?:big\s+)?favou?r)[,]?\s+and",
    _START + r"(?:i(?:\s+would|'d)?|we(?:\s+would|'d)?)\s+(?:really\s+|just\s+)?(?:rather|prefer"
    r"|like|love|want|need|wish|appreciate)\s+(?:it\s+(?:if\s+it\s+(?:were|was)|to\s+be)"
    r"|for\s+it\s+to\s+be)",
    _START + r"(?:i\s+(?:would\s+)?(?:rather|wish)|i\s+would\s+(?:prefer|like)\s+if)\s+"
    r"(?=(?:it|that|the\s+\w+)\s+(?:sounded|was|were)\b)",
    _START + r"i(?:\s+would)?\s+(?:just\s+)?(?:want|need|like|wish)\s+that\s+(?=\w)",
    _START + r"(?:i|we)(?:\s+would)?\s+(?:just\s+)?(?:prefer|like|want|need)\s+(?=(?:no|less)\b)",
    _START + r"(?:i|we)\s+(?:just\s+)?(?:want|need)\s+(?:you\s+to\s+)",
    _START
    + r"(?:your\s+(?:task|job)\s+is\s+to|the\s+(?:task|goal)\s+is\s+to|what\s+i\s+(?:want|need)"
    r"\s+is(?:\s+for\s+you)?(?:\s+to)?|all\s+i\s+want\s+is(?:\s+for\s+you)?(?:\s+to)?)",
    r"[\s,]+(?:if|whenever|when|as\s+soon\s+as)\s+(?:(?:it|that)\s+(?:is|works|would\s+be)"
    r"\s*(?:not\s+)?(?:too\s+much\s+(?:trouble|to\s+ask|bother)|at\s+all\s+possible|possible"
    r"|ok(?:ay)?"
    r"|alright|all\s+right|fine(?:\s+with\s+you)?|no\s+(?:trouble|bother))?"
    r"|you\s+(?:can|could|would|may|like|please|do\s+not\s+mind|would\s+not\s+mind"
    r"|(?:have|get|find)\s+(?:a|the|some)\s+(?:moment|chance|time|second|minute)))"
    r"(?=\s*(?:$|[,.;!?]))",
    r"[\s,.]+(?:thank\s+you(?:\s+(?:so|very)\s+much)?|thanks(?:\s+(?:a\s+lot|so\s+much"
    r"|in\s+advance))?"
    r"|cheers|ta|many\s+thanks|much\s+appreciated|asap|as\s+soon\s+as\s+possible|please"
    r"|right\s+away"
    r"|for\s+(?:me|us)|will\s+(?:you|ya)|would\s+you|could\s+you|can\s+you)(?=\s*(?:$|[,.;!?]))",
    r"(?:^|(?<=[，,。；]))\s*(?:(?:麻烦|劳驾|拜托|请|您|你|能不能|可不可以|可以|能否|能|是否|帮忙?|给|我们?"
    r"|想要?|希望|咱们?|请问)(?:把(?=.{0,9}(?:[a-z]|$))|)?)+(?=[\u3400-\u9fff])(?!就|都)",
    r"(?:呗|啦|嘛|哈|哟|咯|喽|呀|噢|哒|啊|哦|行不行|行吗|好吧|好吗|可以吗|多谢|谢谢[您你]?啦?|谢了|辛苦了"
    r"|感谢|拜托了?|麻烦了|吧|一下)(?=\s*(?:$|[，,。；！？!?.]))",
    r"(?<=[\u3400-\u9fff])一下(?=[\u3400-\u9fff])",
)
_REASONS = (
    r"(?:[,;.\s]+|^)(?:because|since|as|cause|cuz|so\s+that|that\s+way)\s+(?P<why>[^,.;]+)",
    r"(?:[,;.\s]+)(?:it\s+is|this\s+is)\s+(?:meant\s+|intended\s+)?for\s+(?P<for>[^,.;]+)",
    r"(?:[,;.\s]+)my\s+(?P<mine>hearing|ears|eyesight|english|boss|client|listeners?)\s+[^,.;]+",
)
_SAME = (
    (r"\b(?:a|one)\s+second\s+and\s+a\s+half\b", "1.5 seconds"),
    (r"一秒半", "1.5秒"),
    (r"两秒半", "2.5秒"),
    (r",\s*please\s*,\s*", " "),
    (r"(?:^|(?<=[,，。]))\s*只有?(?=第|前|后|最后|开头)", ""),
    (r"^(?P<a>降噪|去噪|去静音|去停顿|去口头禅)(?:之|以)?后[,，]?(?!面)", r"先\g<a>，然后"),
    (r"(?<=[a-z])\s+(?:n|&"
     r"|\+)\s+(?=[a-z])", " and "),
    (r"[,]?\s+(?P<w>volume|speed|pitch|tempo|loudness)[\s-]*wise\b", r" the \g<w>"),
    (r"^(?P<o>after|before)\s+(?P<g>[a-z]+ing\b[^,]*?)\s+(?=(?:make|bump|raise|lower|turn|slow"
     r"|speed|boost|cut|remove|replace"
     r"|delete|add|insert|whisper|denoise|trim|normali[sz]e|put|bring)\b)", r"\g<o> \g<g>, "),
    (r"(?:听|感觉|显得)(?:上去|起来)?(?=要|得|更|像)", ""),
    (r"\b(?P<v>slow|speed|turn|tone|calm|bring"
     r"|hurry)\s+(?:me|him|her|them|us|my\s+(?:voice|speech)"
     r"|the\s+(?:voice|speech|speaker|audio|recording|narration|narrator|delivery|talking|man"
     r"|woman|guy)|things|everything)"
     r"\s+(?P<p>up|down)\b", r"\g<v> it \g<p>"),
    (r"\b(?P<w>with|by|to|of|the|a)\s*,\s+", r"\g<w> "),
    (r",(?:\s*,)+", ","),
    (r"(?:^|(?<=[,;.])\s*)(?:and\s+)?(?:second|third|fourth|fifth|step\s+(?:one|two|three|four"
     r"|\d)|\d\s*[.)])[,:]?\s+"
     r"(?=(?:make|remove|delete|cut|take|get|denoise|trim|replace|change|insert|add|put|slow"
     r"|speed|raise"
     r"|lower|turn|bring|whisper|clean|drop|boost|normali[sz]e|set|pause|read|say)\b)", "then "),
    (r"\b(?:emotion|style|mood|speaking\s+style)\s*(?:->|=>|→|=|:)\s*(?:to\s*=\s*)?", "make it "),
    (r"\bnot\s+(?:the\s+whole\s+(?:thing|recording|text)|everything"
     r"|all(?:\s+of\s+it)?)[,]?\s+(?:but\s+)?(?:just|only)\b", "only"),
    (r"^(?:end|finish|close)(?:\s+it)?\s+(?:on"
     r"|with)\s+(?P<w>an?\s+[a-z]+(?:\s+[a-z]+)?)\s*[.!]?$", r"add \g<w> at the end"),
    (r"^(?:start|begin|open)(?:\s+it)?\s+(?:on|with"
     r"|off\s+with)\s+(?P<w>an?\s+[a-z]+(?:\s+[a-z]+)?)\s*[.!]?$", r"add \g<w> at the start"),
    (r"[;,.]\s*(?:but\s+)?before\s+that[,]?\s+", ", but first "),
    (r"[;,.]?\s*(?:and\s+)?(?:once|when|after)\s+(?:that|this|it)\s+(?:is|has\s+been)\s+(?:done"
     r"|finished|over|complete|completed)[,]?\s+", ", then "),
    (r"^(?P<a>[^,，;。]+?)之前[,，]?(?:请)?先(?P<b>[^;。]+)$", r"先\g<b>，然后\g<a>"),
    (r"(?:^|(?<=[,，;。]))(?:他|她|我)?(?:说|读|念|讲)完(?:了|话|之后|以后|后)?[,，]?(?:再|要|得)?"
     r"(?=叹|咳|笑|清嗓|清喉|喘|深?呼|哼|吸一?口)", "在结尾加上"),
    (r"^(?P<a>[^,，;。]+?)(?:之后|以后|完)[,，]?(?:请)?再(?P<b>[^;。]+)$", r"先\g<a>，然后\g<b>"),
    (r"^(?:算了|等等|等一下)[,，]\s*(?=撤销|取消|不)", ""),
    (r"(?<=[\w.!\ue000-\uefff])\s+(?=without\s+(?:chang|touch|affect|alter"
     r"|modify|adjust|mess)(?:e|ing)\b)", ", "),
    (r"(?<=\w)\s+(?=(?:while|but)\s+(?:keeping|leaving|maintaining|preserving)\b)", ", "),
    (r",\s*(?:while|but|and)\s+(?=(?:keeping|leaving|maintaining|preserving)\b)", ", "),
    (rf"\bthe\s+(?P<n>{NUMBER}|couple)\s+(?P<o>first|last"
     rf"|final)\s+(?=\w+s\b)", r"the \g<o> \g<n> "),
    (r"\bin\s+the\s+place\s+of\b", "in place of"),
    (r"\bmore\s+(?:loud|louder)\b", "louder"),
    (r"\bmore\s+(?:low|lower)\b", "lower"),
    (r"\bmore\s+(?:quiet|quieter)\b", "quieter"),
    (r"\bmore\s+(?:slow|slowly|slower)\b", "slower"),
    (r"\bmore\s+(?:fast|quick|rapid|faster|speedy|quickly|rapidly)\b", "faster"),
    (r"\bmore\s+(?:high)\b", "higher"),
    (r"\bmore\s+deep\b", "deeper"),
    (r"\bless\s+(?:fast|quick|rapid|fastly)\b", "slower"),
    (r"\bless\s+slow\b", "faster"),
    (r"\bless\s+quiet\b", "louder"),
    (rf"\b(?:phrase|sentence|line)\s+(?:number|no\.?|nr\.?"
     rf"|#)\s*(?P<n>{NUMBER})", r"sentence \g<n>"),
    (r"(?<=\s)#\s*(?P<n>\d+)\b", r"sentence \g<n>"),
    (r"\b(?:a|one)\s+quarter\b(?!\s+of\s+the)", "25 percent"),
    (r"\b(?:three\s+quarters|3/4)\b", "75 percent"),
    (r"\b(?:a|one)\s+third\b(?!\s+(?:of\s+the|sentence|word))", "33 percent"),
    (r"\btwo\s+thirds\b", "67 percent"),
    (r"\b(?:a|one)\s+half\b(?!\s+(?:an?|step|tone|second|semitone))", "50 percent"),
    (r"\bby\s+half\b(?!\s+(?:an?|step|tone|second|semitone))", "by 50 percent"),
    (r"\bquit\b", "remove"),
    (r"\bi\s+want\s+(?:it|that|this|that\s+one)\s+(?=(?:to\s+be\s+)?\w+)", "make it "),
    (r"\b(?:will|should|must|needs?\s+to|has\s+to|ought\s+to|shall)\s+(?:be|become|get|sound)\s+"
     r"(?=(?:(?:a\s+(?:bit|little)|much|more|less|slightly|way|far)\s+)?[a-z]+(?:er|ly|ful"
     r"|ed)?\b\s*[.!]?$)",
     "made "),
    (r"(?:八折|打八折)", "百分之八十"),
    (r"(?P<n>[一二三四五六七八九])成(?![一二三四五六七八九为])", r"百分之\g<n>十"),
    (r"原来的(?=百分之|\d|[一二两三四五六七八九半])", ""),
    (r"这?[一两二三四五六七八九几]个字", ""),
    (r"(?<=[\ue000-\uefff])\s*这?(?:几|[一两二三四五])?个?(?:字|词|词语)", ""),
    (r"倒数第[一1]句", "最后一句"),
    (r"(?:话|句子)(?=要|得|用|说|念|读)", ""),
)  # fmt: skip
_FROM_START = tuple(
    re.compile(one[1:]) for one in (*_HESITATIONS, *_COURTESIES) if one.startswith(_START)
)
_ANYWHERE = tuple(
    (re.compile(one), " ") for one in (*_HESITATIONS, *_COURTESIES) if not one.startswith(_START)
)
_EQUAL = tuple((re.compile(one), by) for one, by in _SAME)
_WHY = tuple(re.compile(one) for one in _REASONS)
_MOST_STARTS = 24
_MEANT = re.compile(
    rf"{QUOTE}|\b(?:sentence|word|line|part|seconds?|{ORDINAL}|only|not|except|louder|quieter"
    r"|slow(?:er)?|fast(?:er)?|higher|lower|too|make|remove|delete|noise|ending|beginning|end"
    r"|start)\b"
)


def _begun(words: Wording) -> Wording:
    """Return a sentence whose clauses begin without hesitations and courtesies."""
    at = 0
    for _ in range(_MOST_STARTS):
        match = _STARTS.search(words.low, at)
        if match is None:
            break
        at = match.end() if match.end() > at or not at else at + 1
        while True:
            taken = next(
                (one for regex in _FROM_START if (one := regex.match(words.low, at))), None
            )
            if taken is None or taken.end() == at:
                break
            words = words.without(at, taken.end())
            at += len(words.low[at:]) - len(words.low[at:].lstrip())
    return words


def _replaced(words: Wording, regex: re.Pattern[str], by: str) -> Wording:
    """Return a sentence with a pattern replaced, its two forms kept of one length."""
    raw, low, at = [], [], 0
    for match in regex.finditer(words.low):
        new = match.expand(by)
        raw += [words.raw[at : match.start()], new]
        low += [words.low[at : match.start()], new]
        at = match.end()
    if not at:
        return words
    raw.append(words.raw[at:])
    low.append(words.low[at:])
    return Wording("".join(raw), "".join(low), words.quotes)


_NUMBERED = re.compile(r"(?:^|[\s;,；，。.])\s*(?:\d\s*[.)、]|[①②③④⑤⑥])\s*(?=\D)")


def reworded(words: Wording) -> Wording | None:
    """Return a sentence without its hesitations, courtesies and ways round, or None."""
    found = words
    if re.match(r"\s*(?:1\s*[.)、]|①)", words.low):
        found = _replaced(found, _NUMBERED, ", then ")
    for _ in range(2):
        before = found
        found = _begun(found)
        for regex, by in (*_ANYWHERE, *_EQUAL):
            found = _replaced(found, regex, by)
        if found is before:
            break
    for regex in _WHY:
        match = regex.search(found.low)
        if match is not None and _MEANT.search(match.group()) is None:
            found = found.without(*match.span())
    raw = re.sub(r"\s", " ", found.raw)
    found = Wording(raw, re.sub(r"\s", " ", found.low), found.quotes).stripped()
    if not found.low or found.low == words.low.strip():
        return None
    return found
