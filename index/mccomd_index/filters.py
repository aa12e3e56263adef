"""What never enters the index, and why. By name before anything is read, by content after.

The default lists are here and nowhere else; nothing that a repository says can let in what they leave
out. User globs are those of .gitignore without negation (globs.py), ignore files are those of ignore.py.

Knows no git: it is given paths, sizes and texts.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re

from .errors import OptionsError
from .globs import RuleSet, read_rule
from .ignore import IgnoreFiles
from .languages import LANGUAGES, language_of
from .types import IndexOptions


def _words(text: str) -> list[str]:
    return text.split()


# Zed's list of files never sent to a model (.env*, *.pem, *.key, *.cert, *.crt, secrets.yml), plus the names
# under which tools keep passwords, tokens and keys. Continue's list also drops config.json and settings.json:
# left out here, they are ordinary code. Matched without regard to case, anywhere in the tree.
SECRET_FILES = _words("""
    .env* *.env *.pem *.key *.cert *.crt *.cer *.der *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk *.ovpn
    secret.yml secret.yaml secret.json secret.toml secrets.yml secrets.yaml secrets.json secrets.toml
    secrets.ini secrets.properties credentials credentials.json credentials.yml credentials.yaml
    credentials.ini credentials.toml credentials.xml .credentials client_secret*.json service-account*.json
    service_account*.json id_rsa* id_dsa* id_ecdsa* id_ed25519* .netrc _netrc .npmrc .yarnrc.yml .pypirc
    .pgpass .my.cnf .htpasswd .git-credentials .dockercfg .dockerconfigjson .vault-token .boto .s3cfg
    *.tfstate *.tfstate.* *.tfvars *.kubeconfig kubeconfig
""")
SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".azure", ".gcloud"})

LOCK_FILES = _words("""
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb poetry.lock pdm.lock
    uv.lock pipfile.lock pixi.lock conda-lock.yml cargo.lock composer.lock gemfile.lock go.sum go.work.sum
    flake.lock mix.lock pubspec.lock podfile.lock package.resolved deno.lock gradle.lockfile
    packages.lock.json .terraform.lock.hcl
""")

GENERATED_FILES = _words("""
    *.min.js *.min.css *.min.mjs *.bundle.js *.map *_pb2.py *_pb2.pyi *_pb2_grpc.py *.pb.go *.pb.cc *.pb.h
    *.g.dart *.designer.cs *.snap
""")
GENERATED_FOLDERS = frozenset({"node_modules", "__pycache__", ".git"})

# Binary, or text that holds data and no code. Known by name, so that they are not even read.
DATA_SUFFIXES = _words("""
    png jpg jpeg gif bmp ico icns webp tif tiff psd svg eps pdf ps dvi ttf otf woff woff2 eot mp3 mp4 wav ogg
    flac avi mov webm mkv zip gz tgz bz2 xz zst lz4 7z rar tar jar war whl egg deb rpm dmg iso exe dll so
    dylib a lib o obj pyc pyo pyd class wasm bin dat db sqlite sqlite3 pkl pickle npy npz h5 hdf5 parquet
    arrow feather onnx pt pth safetensors gguf tflite pb doc docx xls xlsx ppt pptx odt ods csv tsv mo po
    pot ipynb
""")

MAX_LINE = 5_000  # characters; code written by people has none
MAX_AVERAGE_LINE = 300
MAX_KNOWN = 50_000  # paths
_MARK = re.compile(
    r"^[ \t]*(?:#|//|/\*|\*|--|;|<!--|\"\"\")[^\n]*(?:@generated\b|\bgenerated\b[^\n]*DO NOT EDIT)", re.M
)
_MARK_REACH = 1_500  # characters from the top in which a generated file says so


class Filters:
    """The rules of one set of options, and of the ignore files of one tree."""

    def __init__(self, options: IndexOptions, ignore_files: IgnoreFiles | None = None) -> None:
        self.options = options
        self._max_bytes = options.max_file_kb * 1000
        self._languages = frozenset(options.languages)
        self._ignore_files = ignore_files
        self._ignored = _option_rules(options.ignore)
        self._by_path: dict[str, str | None] = {}  # what follows from a path and the options alone
        unknown = sorted(self._languages - LANGUAGES)
        if unknown:
            raise OptionsError(f"languages: unknown {unknown[0]!r}; known: {' '.join(sorted(LANGUAGES))}")
        if options.max_file_kb <= 0:
            raise OptionsError(f"max_file_kb: {options.max_file_kb} must be above 0")

    def refuse_path(self, path: str) -> str | None:
        """Why a file of this name never enters; None: it may."""
        known = self._by_path.get(path, "")
        if known == "":
            if len(self._by_path) > MAX_KNOWN:
                self._by_path.clear()
            known = self._by_path[path] = self._refuse_name(path)
        if known is not None or self._ignore_files is None:
            return known
        return self._ignore_files.refuse(path)

    def _refuse_name(self, path: str) -> str | None:
        *folders, name = path.lower().split("/")
        if _SECRET_NAME.match(name) or not SECRET_FOLDERS.isdisjoint(folders):
            return "secret"
        if name in _LOCK_NAMES:
            return "lock file"
        if _GENERATED_NAME.match(name) or not GENERATED_FOLDERS.isdisjoint(folders):
            return "generated"
        if posixpath.splitext(name)[1] in _DATA_SUFFIXES:
            return "data"
        if self._ignored.leaves_out(path):
            return "ignored"
        if self._languages and language_of(path) not in self._languages:
            return "other language"
        return None

    def refuse(self, path: str, size: int) -> str | None:
        """Why a file of this name and so many bytes never enters; None: it may."""
        return self.refuse_path(path) or self.refuse_size(size)

    def refuse_size(self, size: int) -> str | None:
        """Why a file of this many bytes never enters; None: it may. 1 KB is 1000 bytes."""
        return "oversized" if size > self._max_bytes else None


def refuse_bytes(data: bytes) -> str | None:
    """Why these bytes are no text; None: they may be."""
    return "binary" if b"\0" in data else None


def refuse_text(text: str, lines: list[str], longest: int | None = None) -> str | None:
    """Why this text was not written by people; None: it may have been. longest: of the lines, if known."""
    longest = max(map(len, lines), default=0) if longest is None else longest
    if longest > MAX_LINE or (len(text) > MAX_AVERAGE_LINE * len(lines) and len(lines) > 1):
        return "minified"
    if _MARK.search(text, 0, _MARK_REACH):
        return "generated"
    return None


def _option_rules(globs: tuple[str, ...]) -> RuleSet:
    """The globs of the options. OptionsError: a negation, or one that can never match."""
    rules = []
    for glob in globs:
        if not glob.strip() or glob.startswith("!"):
            raise OptionsError(f"ignore: {glob!r} is empty or a negation: those are for .mccomdignore files")
        try:
            rule = read_rule(glob.strip())
        except ValueError as error:
            raise OptionsError(f"ignore: cannot understand {glob!r}: {error}") from error
        if rule is not None:
            rules.append(rule)
    return RuleSet(rules)


def _names(globs: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


_SECRET_NAME = _names(SECRET_FILES)
_LOCK_NAMES = frozenset(LOCK_FILES)
_DATA_SUFFIXES = frozenset(f".{suffix}" for suffix in DATA_SUFFIXES)
_GENERATED_NAME = _names(GENERATED_FILES)
