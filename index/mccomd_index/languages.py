"""Which language a path is in, by its name alone."""

from __future__ import annotations

import posixpath
from functools import lru_cache

_SUFFIXES = {
    "asm": "asm s",
    "c": "c h",
    "clojure": "clj cljs cljc edn",
    "cmake": "cmake",
    "cpp": "cc cpp cxx c++ hh hpp hxx ipp inl",
    "csharp": "cs",
    "css": "css scss sass less",
    "cuda": "cu cuh",
    "dart": "dart",
    "dockerfile": "dockerfile",
    "elixir": "ex exs",
    "erlang": "erl hrl",
    "fortran": "f f90 f95 f03 for",
    "fsharp": "fs fsi fsx",
    "go": "go",
    "groovy": "groovy gradle",
    "haskell": "hs lhs",
    "html": "html htm xhtml jinja j2 vue svelte",
    "ini": "ini cfg conf",
    "java": "java",
    "javascript": "js jsx mjs cjs",
    "json": "json jsonc json5",
    "julia": "jl",
    "kotlin": "kt kts",
    "lisp": "lisp el scm rkt",
    "lua": "lua",
    "make": "mk mak",
    "markdown": "md markdown mdx",
    "nim": "nim",
    "nix": "nix",
    "objc": "m mm",
    "ocaml": "ml mli",
    "perl": "pl pm t",
    "php": "php",
    "powershell": "ps1 psm1",
    "protobuf": "proto",
    "python": "py pyi pyw pyx pxd pxi",
    "r": "r",
    "rst": "rst",
    "ruby": "rb rake gemspec",
    "rust": "rs",
    "scala": "scala sc sbt",
    "shell": "sh bash zsh fish ksh bats",
    "sql": "sql",
    "swift": "swift",
    "terraform": "tf hcl",
    "tex": "tex sty cls bib",
    "toml": "toml",
    "typescript": "ts tsx mts cts",
    "vim": "vim",
    "xml": "xml xsd xsl svg",
    "yaml": "yaml yml",
    "zig": "zig",
}
_NAMES = {
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "vagrantfile": "ruby",
    "jenkinsfile": "groovy",
    "pipfile": "toml",
    "pkgbuild": "shell",
    "sconstruct": "python",
    "sconscript": "python",
    "wscript": "python",
    ".bashrc": "shell",
    ".bash_profile": "shell",
    ".profile": "shell",
    ".zshrc": "shell",
    ".vimrc": "vim",
    ".gitconfig": "ini",
    ".editorconfig": "ini",
}
_BY_SUFFIX = {f".{suffix}": name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}

LANGUAGES = frozenset(_SUFFIXES) | frozenset(_NAMES.values()) | {"text"}


@lru_cache(maxsize=20_000)
def language_of(path: str) -> str:
    """The language's name in lower case; "text" where the name does not tell."""
    name = posixpath.basename(path).lower()
    if name.startswith("dockerfile."):
        return "dockerfile"
    return _NAMES.get(name) or _BY_SUFFIX.get(posixpath.splitext(name)[1], "text")
