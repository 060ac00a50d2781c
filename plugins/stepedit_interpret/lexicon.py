"""Words that any request has; what is an edit's own is in its phrases."""

from __future__ import annotations

import re

__all__ = [
    "ADD",
    "BREAKS",
    "CARRIERS",
    "EVEN",
    "LESSEN",
    "LITTLE",
    "LOWER",
    "MUCH",
    "NEGATIONS",
    "OPPOSITE",
    "POLITE_AFTER",
    "POLITE_BEFORE",
    "QUOTE",
    "RAISE",
    "REMOVE",
    "TIMES",
    "VERBS",
    "is_chinese",
]

QUOTE = r"[\ue000-\uefff]"
"""One character that stands for a quoted text."""

REMOVE = re.compile(
    r"\b(?:remov(?:e|ing)|delet(?:e|ing)|rm|del|strike|gone|(?:must|should|has\s+to|have\s+to|needs?\s+to|can|could)\s+go(?:\s+away)?"
    r"|ditch|axe|nuke|purge|banish|dump|scrap|weed\s+out|chop|close\s+up|toss(?:\s+out)?|wipe(?:\s+out)?|zap|chop(?:\s+out)?"
    r"|cut(?:ting)?(?:\s+(?:out|down|off|away))?"
    r"|tak(?:e|ing)\s+(?:out|away|off)"
    r"|tak(?:e|ing)|get(?:ting)?\s+rid\s+of|rid|dropp?(?:ing)?|eliminat(?:e|ing)|stripp?(?:ing)?"
    r"|eras(?:e|ing)"
    r"|los(?:e|ing)|reduc(?:e|ing)|lower(?:ing)?|kill|filter(?:ing)?|trim(?:ming)?|shorten(?:ing)?"
    r"|tighten(?:ing)?"
    r"|clean(?:ing)?|suppress|edit\s+out|no(?:\s+more)?|without(?!\s+\w+ing)|less|not\s+so|fewer|minus|scrub|clear"
    r"|snip|excise|omit|leave\s+out|throw\s+out|bleach|out)\b"
    r"|去掉|去除|去(?=[^年])|删除|删掉|删去|删|除去|移除|消除|剪掉|剪去|剪|不要有|不要|减少|降低"
    r"|清除|抹掉"
    r"|拿掉|过滤掉?|缩短|压缩|清理|消掉|减弱|别"
)
"""What asks to take something away."""

LESSEN = re.compile(
    r"(?:reduc|lower|trim|shorten|tighten|clean|suppress|less|not\s+so|fewer|no\b|without|kill|filter|"
    r"scrub|clear|out\b).*|减少|降低|缩短|压缩|清理|减弱|别|清除"
)
"""Those of them that do not ask for words to go."""

ADD = re.compile(
    r"\b(?:add(?:ing)?|insert(?:ing)?|put(?:ting)?|includ(?:e|ing)|append(?:ing)?|prepend"
    r"|giv(?:e|ing)|have|let|drop\s+in|throw\s+in|slip\s+in|place)\b"
    r"|加上|加入|加一?[个声段下]?|添加|插入|放一?个?|增加|补上|来一?[个声]|添上"
)
"""What asks to put something in."""

RAISE = re.compile(
    r"\b(?:rais(?:e|ing)(?:\s+up)?|increas(?:e|ing)|boost(?:ing)?|up|upwards?|higher|more|bump(?:ing)?"
    r"|push(?:ing)?|lift(?:ing)?|crank(?:ing)?|gain|add(?:ing)?|plus|amplify(?:ing)?|nudg(?:e|ing)"
    r"|elevat(?:e|ing)|enhance|hike|turn(?:ing)?\s+up|bring(?:ing)?\s+up|upped|greater|bigger)\b|\+"
    r"|提高|调高|升高|加大|增大|调大|放大|提升|增加|变大|变高|开大|拉高|抬高|上调|往上|加|大|高|升"
)
"""What asks for more of something that has a level."""
LOWER = re.compile(
    r"\b(?:lower(?:ing)?|reduc(?:e|ing)|decreas(?:e|ing)|dropp?(?:ing)?|down|downwards?|cut(?:ting)?"
    r"|turn(?:ing)?\s+down|bring(?:ing)?\s+down|less|minus|fewer|dial(?:ing)?|attenuat(?:e|ing)"
    r"|duck(?:ing)?|smaller|pull(?:ing)?|tak(?:e|ing)|knock(?:ing)?|off)\b|-"
    r"|降低|调低|减小|调小|放小|压低|减少|变小|变低|下调|往下|拉低|关小|减弱|降|低|小|减"
)
"""What asks for less of it."""
VERBS = {"remove": REMOVE, "add": ADD, "raise": RAISE, "lower": LOWER}
OPPOSITE = {"raise": LOWER, "lower": RAISE}

LITTLE = re.compile(
    r"\b(?:(?:just\s+)?a\s+(?:(?:little|tiny|wee)(?:\s+bit)?|bit|tad|touch|notch|hair|smidge|shade)"
    r"|a\s+few\s+percent|slightly|somewhat|marginally|ever\s+so\s+slightly|subtly|a\s+little\s+more"
    r"|mildly|(?:little|bit)(?=\s+(?:bit\s+)?(?:more|less|[a-z]+er)\b))\b|(?:稍微|稍稍|稍|略微|略|有)?(?:一点儿?|一些|点儿|[点些](?![音点]))|稍微|稍稍"
    r"|略微|轻微地?|稍"
)
MUCH = re.compile(
    r"\b(?:much|a\s+(?:whole\s+)?lot|lots|way|far|considerably|significantly|substantially|really"
    r"|very|super|extremely|a\s+great\s+deal|hugely|dramatically|drastically|greatly"
    r"|a\s+good\s+deal"
    r"|total|utter|sheer|absolute(?:ly)?|massively|enormously|immensely|strongly|noticeably|incredibly|totally|completely)\b"
    r"|很多|得多|许多|非常|大幅度?地?|明显地?|特别|十分|极其|极度|超级?|多了|大大地?|快速"
)
EVEN = re.compile(r"\b(?:even|still|yet)\b|更加?|再|还要")
TIMES = re.compile(
    r"\b(?:(?P<twice>twice)(?:\s+over)?|(?P<en>two|three|four|five|\d)\s+times(?:\s+over)?)\b"
    r"|(?:重复)?(?P<zh>[两二三四五\d])[次遍]"
)

NEGATIONS = re.compile(r"\b(?:not|never|no|nothing|nor|neither|hardly)\b|不|没|别|勿")

POLITE_BEFORE = re.compile(
    r"^(?:[\s,，。.:：;；!！]|(?:please|pls|plz|yo|can\s+u|(?:second|third|fourth|fifth)(?:ly)?$|is\s+(?:it\s+)?possible\s+to|would\s+it\s+be"
    r"\s+possible\s+to|is\s+there\s+a\s+way\s+to|to(?=\s+(?:change|replace|delete|remove|insert|add"
    r"|make|put|cut|read|say|slow|speed|raise|lower|reduce|increase|speak)\b)|kindly|hey|hi\s+there|ok(?:ay)?|so|well|now|also|and|then"
    r"|first(?:ly)?"
    r"(?!\s+(?:word|sentence|line|two|three|four|five|\d|half|second|part|paragraph|one|phrase))"
    r"|next|finally|lastly|afterwards?|after\s+that|secondly|thirdly|plus|but|just"
    r"|at\s+the\s+same\s+time|in\s+addition"
    r"|(?:could|can|would|will)\s+you(?:\s+please|\s+mind)?|i(?:\s+would|\s+'d|'d)?\s*"
    r"(?:want|like|need|love)(?:\s+you)?\s+to(?!\s+(?:sound|be)\b)|you\s+should|you\s+need\s+to"
    r"|let\s+us|let's|i\s+think|maybe|perhaps|try\s+to|try|go\s+ahead\s+and|help\s+me|we\s+should"
    r"|we\s+need\s+to|i\s+need\s+you\s+to)\b"
    r"|请你?|麻烦你?|帮我|帮忙|能不能|能否|可以|可不可以|我想要?|我要|我希望|希望|先|然后|接着"
    r"|之后|随后"
    r"|最后(?!的?(?:[一二两三四五六七八九十\d]|句|段|半|加[上入一个]|插|补|添|说))|再|并且?|也"
    r"|同时|另外|还有|首先|其次|而且|且|还)"
)
POLITE_AFTER = re.compile(
    r"(?:[\s,，。.!！?？:：;；]|(?<!\bword\s)(?<!\bphrase\s)\b(?:please|thanks?(?:\s+you)?|for\s+me|if\s+you\s+can"
    r"|if\s+possible|pls|plz|thx|lol|if\s+you\s+do\s+not\s+mind|a\s+lot\s+of\s+thanks"
    r"|as\s+well|too|now|afterwards?|first|will\s+you|would\s+you|okay|ok|after\s+that"
    r"|though)"
    r"|吧|吗|好吗|可以吗|谢谢|一下|好不好|行吗|呢|哦|啊)$"
)

BREAKS = re.compile(
    r"(?P<mark>\s*(?:[,;!?](?!\d)|\.(?![a-z0-9_/]))\s*|\s*[，。；、！？]\s*|\s+-+\s+)"
    r"|\s+(?:(?:but\s+)?(?:(?:only|right|just)\s+)?(?:before|after)(?!\s+(?:that|this|which)\b)|and\s+then|and\s+also|then|and|but|plus|also|while|as\s+well\s+as|so"
    r"|yet)\s+"
    r"|(?:然后|接着|之后再|再(?!见|次)|并且|并|以及|同时|和|与|跟|而且|且|但是?|不过|后(?=再))"
    r"|(?<=[^\s])(?=最后(?:再|把|将|加|去|删|降|用|让))"
)
"""Where one request may end and another begin."""

_EN_CARRIERS = (
    *(
        "make",
        "makes",
        "making",
        "made",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "the",
        "a",
        "an",
    ),
    *("sound", "sounds", "sounding", "more", "be", "been", "being", "to", "voice", "voices"),
    *("tone", "tones", "speech", "speaker", "audio", "recording", "clip", "whole", "thing", "her"),
    *("him", "them", "his", "their", "my", "your", "our", "say", "says", "saying", "said", "speak"),
    *("speaks", "speaking", "spoken", "read", "reading", "reads", "turn", "into", "in", "with"),
    *("like", "of", "have", "has", "let", "want", "wants", "would", "i", "you", "could", "can"),
    *("us", "should", "play", "playing", "tell", "telling", "told", "give", "gives", "for", "me"),
    *("is", "are", "as", "from", "way", "manner", "style", "styled", "delivery", "mood"),
    *("voiceover", "narration", "track", "file", "all", "entire", "so", "some", "any", "just"),
    *(
        "will",
        "need",
        "needs",
        "go",
        "get",
        "got",
        "put",
        "he",
        "sounded",
        "she",
        "they",
        "at",
        "on",
    ),
    *("line", "there", "up", "apply", "using", "use", "uses", "add", "change", "changed"),
    *("changing", "edit", "convert", "set", "sentence", "part", "do", "does", "did", "one", "who"),
    *("were", "if", "though", "bring", "take", "transform", "switch", "feel", "feeling", "come"),
    *("across", "rather", "person", "woman", "man", "guy", "words", "word", "section", "bit"),
    *(
        "narrate",
        "narrated",
        "recount",
        "convey",
        "show",
        "display",
        "imitate",
        "mimic",
        "portray",
        "act",
        "acting",
    ),
    *("talk", "talking", "deliver", "delivered", "perform", "performed", "pronounce", "voiced"),
    *("effect", "kind", "sort", "touch", "passage", "piece", "pretty", "quite", "throughout"),
    *("everywhere", "everything", "and", "please", "overall", "generally", "same", "than", "by"),
    *("out", "where", "what", "seem", "seems", "appear", "narrator", "back", "still", "lines"),
    *(
        "vocal",
        "vocals",
        "when",
        "we",
        "sample",
        "here",
        "original",
        "current",
        "emotion",
        "emotions",
        "only",
        "hint",
        "version",
    ),
    *("talks", "already", "must", "shall", "actually", "simply", "maybe", "kinda", "gonna"),
    *("gotta", "wanna", "stuff", "myself", "am", "being", "may", "might", "over", "own"),
    *("now", "wanted", "needed", "rendered", "render", "present", "presented", "produce"),
    *("vibe", "vibes", "hear", "heard", "listen", "u", "ur", "lol", "yo", "pls", "plz", "wish"),
    *("read the text", "say the text", "speak the text", "read the script"),
    *("somewhat", "sort", "which", "entirely", "match", "about", "roughly", "approximately"),
)
_ZH_CARRIERS = (
    *("请", "帮我", "把", "将", "让", "使", "给", "用", "以", "听起来", "听上去", "显得", "变得"),
    *("变成", "变", "改成", "改为", "改", "换成", "换", "转成", "转为", "转换成", "调成", "调"),
    *("成", "弄", "搞", "处理", "做", "说得", "说", "读得", "读", "念", "讲", "朗读", "播放", "播"),
    *("的", "地", "得", "一些", "一点儿", "一点", "有点", "些", "点", "更加", "更", "再", "语气"),
    *("声音", "嗓音", "口吻", "方式", "语调", "口气", "腔调", "感觉", "样子", "风格", "情绪"),
    *("情感", "它", "这段", "这句", "这个", "这", "那", "整段", "整个", "全部", "全都", "所有"),
    *("音频", "录音", "语音", "里面", "里", "中", "上", "下", "了", "吧", "都", "要", "想", "我"),
    *("你", "他", "她", "它们", "人", "说话", "一样", "像", "般", "那样", "那么", "来", "有", "很"),
    *("非常", "是", "在", "部分", "里的", "话", "句", "句子", "表达", "带", "带着", "充满", "效果"),
    *("整体", "一个", "一种", "一", "个", "种", "多余", "出", "去", "进行", "能", "可以", "带上"),
    *("加", "对", "起", "应该", "需要", "当中", "之中", "变化", "被", "会", "后", "着", "听"),
    *(
        "起来",
        "模仿",
        "仿照",
        "学着",
        "学",
        "装成",
        "当成",
        "那种",
        "来段",
        "时候",
        "整段话",
        "腔",
        "大概",
        "大约",
        "左右",
    ),
)
CARRIERS = re.compile(
    r"\b(?:"
    + "|".join(sorted(_EN_CARRIERS, key=len, reverse=True))
    + r")\b|"
    + "|".join(sorted(_ZH_CARRIERS, key=len, reverse=True))
)
"""Words that carry a request and say nothing of what it is."""


def is_chinese(text: str) -> bool:
    """Return whether a text has a Chinese character."""
    return any("\u3400" <= mark <= "\u9fff" for mark in text)
