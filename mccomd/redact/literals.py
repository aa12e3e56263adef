"""Which literals are secrets because of the name they are given to? `password = "hunter2"`, in any language.

The name is found first, by plain search; only then is the text behind it looked at. A password is masked
whatever it is; a `token` only where it does not look like a word of a parser. Knows no issuer (rules.py).
"""

from __future__ import annotations

import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterator

from mccomd.redact.rules import Span

__all__ = ["assigned", "entropy", "random_literals"]

_PASSWORDS = ("passw", "passphrase", "pwd")
_STEMS = (*_PASSWORDS, "secret", "token", "credential")
_KEY_OF = re.compile(
    r"(?:api|access|auth|private|signing|encryption|master|account|license|service|shared|session|app|consumer|"
    r"client|deploy|project|storage|admin|iam|hmac)[_-]?$"
)  # of any other key only what looks made up: dict_key, primary_key, sort_key
_WHOLE = re.compile(
    r"(?:passwords?|passwort|passwd|passw|passphrase|pwd|secret|token|credentials?|key)"
    r"(?:[_-]?(?:\d{1,3}|prod|production|live|dev|test|testing|stage|staging|default|old|new|current|previous|"
    r"value|val|str|string|text|plain|raw|b64|base64|hex|hash|encoded|literal|admin|root|user|db|id|key|secret|"
    r"password|token|access|fallback|primary|secondary))*"
)
_PARSER_TOKEN = re.compile(
    r"(?:bos|eos|pad|unk|sep|cls|mask|special|image|audio|video|next|prev|previous|first|last|stop|start|end|begin|"
    r"fim|padding|boi|eoi|newline|indent|dedent|delimiter|separator|word|sub|lexer|parser|current|cur|peek|op|"
    r"operator|num|number|string|comment|keyword|expected|unexpected|left|right|open|close|eof|max|min)[_-]?$"
)
_BEHIND_NAME = re.compile(
    r"""["'`\]]{0,3}                                              # "password":   ['password'] =
    (?:\s{0,3}:\s{0,3}[A-Za-z_][\w.|\[\] ]{0,40}?(?=\s{0,3}=))?   # password: str | None =
    \s{0,3}(=>|:=|===?|!==?|\?\?=?|\|\|=?|[=:,(])                 # 1: what stands between name and value
    \s{0,40}(?:(?:new\s)?(?:SecretStr|SecretBytes|String|str|bytes|Buffer\.from|Some|quote)\b)?
    [(\[{]?\s{0,40}[A-Za-z@$]{0,3}
    (\"\"\"|'''|["'`])                                            # 2: the quote
    """,
    re.X,
)
_UNQUOTED = re.compile(
    r"""["']?[ \t]{0,3}(?:=|:)[ \t]{0,3}([^\s"'`;(){}\[\]<>$,]{1,200})(?=[ \t]*(?:\r?\n|$|[;,&#]))"""
)
_FLAG = re.compile(r"""[= ]{1,2}["']?([^\s"'`;(){}\[\]<>$,-][^\s"'`;(){}\[\]<>$,]{2,200})""")
_ELEMENT = re.compile(r"""(?:\s[^<>\n]{0,100})?>\s{0,3}([^<>\s{}$]{1,200})\s{0,3}</""")
_NO_VALUE = re.compile(
    r"""\$\{[^}]*\}|\{\{[^}]*\}\}|\{[^}]*\}|%\([\w]+\)[sdr]|%[sdr]|\$\w+|<[^>]*>|\[[^\]]*\]|(.)\1*|
    (?:none|null|nil|true|false|undefined|string|str|int|bool|required|optional|object|yes|no|required|empty)""",
    re.X | re.I,
)
_WORDS = re.compile(r"[a-z]+(?:[_.][a-z]+)*|[A-Z]+(?:_[A-Z]+)*|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*")
_CONFIG_FILE = re.compile(
    r".*\.(?:cfg|conf|config|env|hcl|ini|prefs|properties|rc|sh|bash|zsh|fish|ps1|tf|tfvars|toml|txt|yaml|yml|md|"
    r"rst|service|envrc|npmrc|dockerfile)|\.env.*|dockerfile|containerfile|makefile|procfile|jenkinsfile"
)
_COMMENT = re.compile(r"[ \t]*(?:#|//|--|;|\*|REM\b)")
MAX_VALUE = 4096
MAX_NAME = 80


def assigned(text: str, path: str) -> Iterator[Span]:
    """Literals given to a name that says secret; they may overlap."""
    low = _lowered(text)
    config = _is_config(path)
    seen = -1
    for start in _stems(low):
        if start < seen:
            continue
        whole = _WHOLE.match(low, start)
        if whole is None or whole.end() <= start:
            continue
        seen = whole.end()
        if seen < len(low) and (low[seen].isalnum() or low[seen] in "_-"):
            continue  # token_url, password_field: named after a secret, not one
        yield from _value_of(text, low, start, seen, config)


def _value_of(text: str, low: str, stem: int, end: int, config: bool) -> Iterator[Span]:
    password = low.startswith(_PASSWORDS, stem)
    head = low[max(0, stem - MAX_NAME) : stem]
    strict = (low.startswith("token", stem) and _PARSER_TOKEN.search(head) is not None) or (
        low.startswith("key", stem) and _KEY_OF.search(head) is None
    )
    if quoted := _BEHIND_NAME.match(text, end):
        between, quote = quoted.groups()
        value = _literal(text, quoted.end(), quote)
        if between in ",(":
            strict = strict or not password or between == ","
        if _is_secret(value, password, strict):
            yield Span(quoted.end(), quoted.end() + len(value), "password" if password else "secret")
        return
    flag = head.endswith(("--", "-")) and _FLAG.match(text, end)
    element = text.startswith((">", " "), end) and _ELEMENT.match(text, end)
    plain = _UNQUOTED.match(text, end)
    if plain and not config:
        # In code an unquoted value is an expression; a comment may hold a real one.
        line = text[text.rfind("\n", 0, stem) + 1 : stem][:MAX_NAME]
        exported = line.lstrip().startswith(("export ", "ENV ", "set "))
        strict, plain = (strict, plain) if exported else (True, plain if _COMMENT.match(line) else None)
    for found in (plain, flag, element):
        if found and _is_secret(found[1], password, strict):
            yield Span(*found.span(1), "password" if password else "secret")
            return


def _is_secret(value: str, password: bool, strict: bool) -> bool:
    if not value or _NO_VALUE.fullmatch(value):
        return False
    if strict:
        return _looks_made_up(value)
    if password:
        return not value.isspace()
    return len(value) >= 6 and " " not in value.strip() and (len(value) > 40 or not _WORDS.fullmatch(value))


def _looks_made_up(value: str) -> bool:
    """Letters and digits in one piece, as people and machines make passwords and keys."""
    return (
        len(value) >= 12
        and not any(c.isspace() for c in value)
        and any(c.isdigit() for c in value)
        and any(c.isalpha() for c in value)
    )


def _literal(text: str, start: int, quote: str) -> str:
    """The text up to the closing quote; up to the end of the line, or of the text, where there is none."""
    end = start
    limit = min(len(text), start + MAX_VALUE)
    one_line = len(quote) == 1 and quote != "`"
    while end < limit:
        if text.startswith(quote, end) or (one_line and text[end] == "\n"):
            break
        end += 2 if text[end] == "\\" and end + 1 < limit else 1
    return text[start : min(end, limit)].removesuffix("\r")


def _stems(low: str) -> list[int]:
    found = [at for stem in _STEMS for at in _places(low, stem)]
    return sorted([*found, *_places(low, "key")])


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + len(word))


def _is_config(path: str) -> bool:
    return _CONFIG_FILE.fullmatch(posixpath.basename(path.lower())) is not None


def _lowered(text: str) -> str:
    """In lower case, every character where it was: str.lower() makes two of some."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


# --- literals that look random whatever their name ----------------------------------------------------

_QUOTED = re.compile(r"""["'`]([A-Za-z0-9+/_=-]{20,200})["'`]""")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_RUN_OF_LETTERS = re.compile(r"[a-z]{5,}|[A-Z]{5,}|[A-Z][a-z]{3,}")
_HASHES = re.compile(
    r"sha\d|sha_|md5|blake|crc|digest|checksum|hash|commit|revision|\brev|etag|integrity|uuid|guid|fingerprint|\boid|"
    r"\btree|parent|head|version|signature|magic|blob",
    re.I,
)
MIN_HEX = 32
REACH = 120


def random_literals(text: str) -> Iterator[Span]:
    """Quoted literals without blanks whose letters and digits look drawn by lot.

    Hexadecimal ones count from 32 digits on and where nothing near them speaks of hashes.
    """
    for match in _QUOTED.finditer(text):
        value = match[1]
        if _HEX.fullmatch(value):
            before = text[max(0, match.start() - REACH) : match.start()]
            if (
                len(value) < MIN_HEX
                or entropy(value) < 3.0
                or _HASHES.search(before[before.rfind("\n") + 1 :])
            ):
                continue
        elif not _is_random(value):
            continue
        yield Span(*match.span(1), "random")


def _is_random(value: str) -> bool:
    digits = sum(c.isdigit() for c in value)
    if digits < 2 or not any(c.isupper() for c in value) or not any(c.islower() for c in value):
        return False
    if value.startswith(("sha256-", "sha384-", "sha512-")):
        return False
    words = sum(len(word) for word in _RUN_OF_LETTERS.findall(value))
    return words < 0.35 * len(value) and entropy(value) > 0.85 * math.log2(min(len(value), 64))


def entropy(value: str) -> float:
    """Shannon's, in bits a character; 0.0 of an empty text."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values()) if total else 0.0
