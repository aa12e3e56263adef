"""Which strings are secrets by their own shape? Tokens of known issuers, keys, passwords in URLs.

Two tables. Tokens are looked for only in the long words of a text, which are few: 30 kB take under a
millisecond. Shapes begin with a string that plain search finds. Together they cover the detectors of
detect-secrets 1.5 and the issuers that came after it. Knows no file names and no variable names.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["SHAPES", "TOKENS", "Rule", "Span", "shaped"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where a secret stands: text[start:end]."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Rule:
    """group 1 of the pattern is the secret; the whole match where there is no group."""

    kind: str
    anchors: tuple[str, ...]  # one of them stands in every match; of a shape: at its beginning
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None


def _token(kind: str, anchors: str, pattern: str) -> Rule:
    """A token that is no part of a longer word. Its quantifiers are bounded: hostile text stays linear."""
    return Rule(kind, tuple(anchors.split()), re.compile(rf"(?<![A-Za-z0-9_])(?:{pattern})(?![A-Za-z0-9])"))


def _shape(
    kind: str, anchors: tuple[str, ...], pattern: str, check: Callable[[str], bool] | None = None
) -> Rule:
    return Rule(kind, anchors, re.compile(pattern), check)


def _is_user_and_password(value: str) -> bool:
    """Whether it is base64 of user:password; "Basic Authentication" is not."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False


def _has_digit(value: str) -> bool:
    return any(c.isdigit() for c in value)


_W = "[A-Za-z0-9]"
_D = "[A-Za-z0-9_-]"
_KEY_NAME = r"(?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_KEY_LINE = r"[ \t#*/|\"'+,;>]{0,20}[A-Za-z0-9+/=:. -]{8,120}(?:\\r|\\n|[ \t\"'+,;\\]){0,20}"
_URL_USER = r"[^\s:/@\"'<>{}]{0,100}"

SHAPES: tuple[Rule, ...] = (
    # The body of a key up to its end; or, where the text was cut, as far as it looks like one.
    _shape("private-key", ("-----BEGIN",), rf"-----BEGIN {_KEY_NAME}((?:(?!-----)[\s\S]){{1,20000}})(?=-----END)"),
    _shape("private-key", ("-----BEGIN",), rf"-----BEGIN {_KEY_NAME}((?:\\n|\r?\n)?(?:(?![^\n]{{0,40}}-----){_KEY_LINE}(?:\r?\n|\Z)){{1,400}})"),
    _shape("private-key", ("Private-Lines: ",), r"Private-Lines: \d{1,4}\r?\n((?:[A-Za-z0-9+/=]{1,80}(?:\r?\n|\Z)){1,400})"),
    # user:password@host
    _shape("url-password", ("://",), rf"://{_URL_USER}:(?!%[sd(]|\$|\[secure\]|\*+@)([^\s/@\"'<>{{}}$]{{1,200}})@"),
    _shape("url-token", ("https://",), r"https://([A-Za-z0-9_-]{20,100})(?::x-oauth-basic)?@"),
    _shape(
        "url-token",
        ("?", "&"),
        r"[?&](?:access_token|api_?key|auth|client_secret|key|password|sig|signature|token|X-Amz-Signature)"
        r"=([^&\s\"'<>{}$]{8,400})",
    ),
    _shape("connection-string", ("AccountKey=", "SharedAccessKey="), r"\w+=([A-Za-z0-9+/]{20,100}={0,2})"),
    _shape("connection-string", (";Password=", "; Password=", ";Pwd=", ";PWD="), r"; ?\w+=([^;\"'\s{}$<>]{1,200})"),
    _shape("basic-auth", ("Basic ", "basic "), r".asic {1,4}([A-Za-z0-9+/_-]{4,400}={0,2})", _is_user_and_password),
    _shape("bearer-token", ("Bearer ", "bearer "), r".earer {1,4}([A-Za-z0-9_.~+/-]{16,2000}={0,2})", _has_digit),
    _shape(
        "basic-auth",
        ("auth=", "auth =", "BasicAuth("),
        r"\w+ ?[=(] ?\(?\s{0,3}[\"'][^\"'\n]{1,100}[\"'],\s{0,3}[\"']([^\"'\n]{1,200})[\"']\s{0,3}\)",
    ),
    _shape("discord-token", (".",), rf"(?<=[MNO]{_D}{{22}})\.({_D}{{6}}\.{_D}{{27,40}})(?!{_D})"),
    _shape("discord-token", (".",), rf"(?<=[MNO]{_D}{{25}})\.({_D}{{6}}\.{_D}{{27,40}})(?!{_D})"),
    _shape("discord-webhook", ("/api/webhooks/",), r"/api/webhooks/\d{5,25}/([A-Za-z0-9_-]{20,100})"),
    _shape("slack-webhook", ("hooks.slack.com/",), r"hooks\.slack\.com/\w{5,12}/([A-Za-z0-9_/-]{20,200})"),
    _shape("npm-token", ("_authToken",), r"_authToken\s{0,3}=\s{0,3}[\"']?([^\s\"'$]{8,400})"),
)  # fmt: skip

TOKENS: tuple[Rule, ...] = (
    _token("jwt", "eyJ", rf"eyJ{_D}{{8,4000}}\.eyJ{_D}{{2,8000}}(?:\.{_D}{{0,2000}})?"),
    _token("age-key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _token("aws-key", "AKIA ASIA AGPA AIDA AROA ABIA ACCA", r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[A-Z0-9]{16}"),
    _token("artifactory-token", "AKC AP", rf"AKC{_W}{{17,200}}|AP[0-9A-F]{_W}{{30,200}}"),
    _token("atlassian-token", "ATATT3 ATBB ATCTT3", rf"AT(?:A|C)TT3[A-Za-z0-9_=-]{{20,400}}|ATBB{_W}{{28,60}}"),
    _token("anthropic-key", "sk-ant-", rf"sk-ant-{_D}{{20,200}}"),
    _token(
        "openai-key",
        "sk-",
        rf"sk-(?:proj|svcacct|admin|None)-{_D}{{20,300}}|sk-{_D}{{0,80}}T3BlbkFJ{_D}{{20,100}}"
        rf"|sk-{_W}{{32,100}}|sk-or-v1-[0-9a-f]{{40,100}}",
    ),
    _token("google-key", "AIza GOCSPX- ya29. 1//0", rf"AIza{_D}{{35}}|GOCSPX-{_D}{{20,60}}|ya29\.{_D}{{20,400}}|1//0{_D}{{30,200}}"),
    _token("databricks-token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    _token("digitalocean-token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    _token("docker-token", "dckr_", rf"dckr_(?:pat|oat)_{_D}{{20,60}}"),
    _token("doppler-token", "dp.", rf"dp\.(?:pt|st|ct|sa|scim|audit)\.{_D}{{20,80}}(?:\.{_D}{{20,80}})?"),
    _token("figma-token", "figd_ figu_", rf"fig[du]_{_D}{{20,80}}"),
    _token("flyio-token", "fm fo1_", rf"fm\d[A-Za-z]?_[A-Za-z0-9+/=_-]{{40,2000}}|fo1_{_D}{{30,100}}"),
    _token("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", rf"gh[pousr]_{_W}{{20,255}}|github_pat_\w{{20,255}}"),
    _token(
        "gitlab-token",
        "gl GR1348941",
        rf"gl(?:pat|dt|ft|soat|rt|cbt|ptt|oas|agent|imt)-{_D}{{16,100}}(?:\.{_D}{{2,20}}){{0,2}}|GR1348941{_D}{{20,40}}",
    ),
    _token("grafana-token", "glsa_ glc_ eyJrIjoi", rf"glsa_{_W}{{32}}_[0-9A-Fa-f]{{8}}|(?:glc_|eyJrIjoi)[A-Za-z0-9+/=_-]{{32,400}}"),
    _token("groq-key", "gsk_", rf"gsk_{_W}{{40,80}}"),
    _token("huggingface-token", "hf_ api_org_", rf"(?:hf|api_org)_{_W}{{30,60}}"),
    _token("linear-key", "lin_", rf"lin_(?:api|oauth)_{_W}{{30,80}}"),
    _token("mailchimp-key", "-us", r"[0-9a-z]{32}-us\d{1,2}"),
    _token("mailgun-key", "key-", r"key-[0-9a-f]{32}"),
    _token("newrelic-key", "NRAK- NRJS- NRII-", rf"NR(?:AK|JS|II)-{_D}{{19,60}}"),
    _token("notion-token", "ntn_ secret_", rf"ntn_{_W}{{30,80}}|secret_{_W}{{40,50}}"),
    _token("npm-token", "npm_", rf"npm_{_W}{{30,80}}"),
    _token("perplexity-key", "pplx-", rf"pplx-{_W}{{30,80}}"),
    _token("planetscale-token", "pscale_", rf"pscale_(?:tkn|oauth|pw)_{_D}{{30,80}}"),
    _token("postman-key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    _token("pulumi-token", "pul-", r"pul-[0-9a-f]{40}"),
    _token("pypi-token", "pypi-", rf"pypi-AgE{_D}{{40,1000}}"),
    _token("replicate-token", "r8_", rf"r8_{_W}{{30,60}}"),
    _token("rubygems-key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    _token("sendgrid-key", "SG.", rf"SG\.{_D}{{16,40}}\.{_D}{{16,64}}"),
    _token("brevo-key", "xkeysib-", r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    _token("sentry-token", "sntry", r"sntry[su]_[A-Za-z0-9+/=_-]{40,400}"),
    _token("shopify-token", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    _token("slack-token", "xox xapp-", rf"xox[a-z]-{_D}{{10,250}}|xapp-\d-{_D}{{10,250}}|xoxe\.xox[bp]-{_D}{{20,250}}"),
    _token("square-token", "sq0 EAAA", rf"sq0(?:atp|csp|idp)-{_D}{{22,43}}|EAAA{_D}{{60}}"),
    _token("stripe-key", "_live_ _test_ whsec_", rf"(?:sk|rk|pk)_(?:live|test)_{_W}{{10,250}}|whsec_[A-Za-z0-9+/=]{{24,64}}"),
    _token("supabase-key", "sbp_ sb_secret_", rf"sbp_[0-9a-f]{{40}}|sb_secret_{_D}{{20,60}}"),
    _token("telegram-token", ":AA", rf"\d{{8,10}}:AA{_D}{{33}}"),
    _token("terraform-token", ".atlasv1.", rf"{_W}{{14}}\.atlasv1\.{_D}{{60,70}}"),
    _token("twilio-key", "AC SK", r"(?:AC|SK)[0-9a-f]{32}"),
    _token("vault-token", "hvs. hvb. hvr.", rf"hv[sbr]\.{_D}{{24,400}}"),
    _token("xai-key", "xai-", rf"xai-{_W}{{40,100}}"),
)  # fmt: skip

_LONG_WORD = re.compile(r"[A-Za-z0-9_.:~+/=-]{20,}")
# Where the text begins inside a key: the lines above its end.
_END_OF_KEY = re.compile(rf"-----END {_KEY_NAME}")
_WHOLE_KEY_LINE = re.compile(_KEY_LINE)
_MOST_LINES_OF_A_KEY = 400


def shaped(text: str) -> Iterator[Span]:
    """Secrets that show by themselves; they may overlap."""
    for rule in SHAPES:
        yield from _shapes(rule, text)
    yield from _rests_of_keys(text)
    yield from _tokens(text)


def _shapes(rule: Rule, text: str) -> Iterator[Span]:
    group = 1 if rule.pattern.groups else 0
    for anchor in rule.anchors:
        at = text.find(anchor)
        while at >= 0:
            match = rule.pattern.match(text, at)
            if match and (rule.check is None or rule.check(match[group])):
                yield Span(*match.span(group), rule.kind)
            at = text.find(anchor, at + len(anchor))


def _rests_of_keys(text: str) -> Iterator[Span]:
    at = text.find("-----END ")
    while at >= 0:
        start = _first_line_of_key(text, at)
        if start < at and _END_OF_KEY.match(text, at):
            yield Span(start, at, "private-key")
        at = text.find("-----END ", at + 9)


def _first_line_of_key(text: str, end: int) -> int:
    """Upwards from the end marker as long as the lines look like a key's; `end` itself when none does."""
    start = text.rfind("\n", 0, end) + 1
    found = end
    for _ in range(_MOST_LINES_OF_A_KEY):
        above = text.rfind("\n", max(0, start - 200), max(0, start - 1)) + 1
        line = text[above : max(0, start - 1)].removesuffix("\r")
        if start == 0 or "-----" in line or not _WHOLE_KEY_LINE.fullmatch(line):
            break
        found = start = above
    return found


def _tokens(text: str) -> Iterator[Span]:
    words = list(_LONG_WORD.finditer(text))
    joined = "\n".join(word[0] for word in words)
    starts: list[int] = []  # of each word in `joined`
    length = 0
    for word in words:
        starts.append(length)
        length += len(word[0]) + 1
    for rule in TOKENS:
        if not any(anchor in joined for anchor in rule.anchors):
            continue
        for match in rule.pattern.finditer(joined):
            number = bisect_right(starts, match.start()) - 1
            shift = words[number].start() - starts[number]
            yield Span(match.start() + shift, match.end() + shift, rule.kind)
