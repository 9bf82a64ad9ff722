"""Files as the world sends them: cut short, in the wrong encoding, renamed, hostile. Made by code, each with a name that says what it is."""

# ruff: noqa: S311, E501  # chance is for variety here; a file and its name stand on one line

import gzip
import io
import json
import random
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl
from backports import zstd

from tests.samples import HEADER, rows

GOOD = rows(4, 5).encode()
LINES = GOOD.decode().splitlines()
ROW = LINES[1]


class BadFile(NamedTuple):
    id: str
    format: str
    name: str
    data: bytes


def bad_files() -> list[BadFile]:
    made = [*_broken(), *_quotes(), *_headers(), *_encodings(), *_values(), *_packed(), *_other_formats(), *_jsonl(), *_parquet(), *_mutated()]
    assert len({file.id for file in made}) == len(made)
    return made


def csv(id: str, data: bytes | str, name: str = "a.csv") -> BadFile:  # noqa: A002
    return BadFile(f"csv-{id}", "csv", name, data.encode() if isinstance(data, str) else data)


def _broken() -> Iterator[BadFile]:
    yield csv("empty", b"")
    yield csv("one-newline", b"\n")
    yield csv("only-newlines", b"\n" * 1000)
    yield csv("one-nul", b"\0")
    yield csv("only-bom", b"\xef\xbb\xbf")
    yield csv("half-bom", b"\xef\xbb")
    yield csv("header-only", HEADER)
    yield csv("header-and-blank-lines", HEADER + "\n\n\r\n\n")
    yield csv("nul-in-a-row", GOOD + b"b9,2024-05-01,true,sail,no\0rth,5,3,\n")
    yield csv("nul-at-end", GOOD + b"\0" * 4096)
    yield csv("cut-within-a-row", GOOD[:-30])
    yield csv("cut-within-a-character", (GOOD.decode() + ROW + "é").encode()[:-1])
    yield csv("one-line-of-10-mb", HEADER + "\n" + ROW + "x" * 10_000_000 + "\n")
    yield csv("one-line-of-20-mb", HEADER + "\n" + ROW + "x" * 20_000_000 + "\n")
    yield csv("10-mb-without-a-line", b"x" * 10_000_000)
    yield csv("10-mb-of-delimiters", b"," * 10_000_000)
    yield csv("old-mac-line-ends", GOOD.replace(b"\n", b"\r"))
    yield csv("crcrlf", GOOD.replace(b"\n", b"\r\r\n"))
    yield csv("lfcr", GOOD.replace(b"\n", b"\n\r"))
    yield csv("vertical-tabs", GOOD.replace(b"\n", b"\x0b"))
    yield csv("trailing-delimiters", GOOD.replace(b"\n", b",\n"))
    yield csv("every-row-ragged", HEADER + "\n" + "a,b\n" * 50)
    yield csv("some-rows-ragged", GOOD + b"a\na,b\n" + ROW.encode() + b",x,y\n")
    yield csv("first-row-ragged", HEADER + "\nshort\n" + "\n".join(LINES[1:]))
    yield csv("one-column", "id\nb1\nb2\n")
    yield csv("ctrl-z-at-end", GOOD + b"\x1a")
    yield csv("merge-conflict", GOOD + b"<<<<<<< ours\n" + ROW.encode() + b"\n=======\n>>>>>>> theirs\n")


def _quotes() -> Iterator[BadFile]:
    for what, field in {
        "unclosed": '"never closed', "text-after": '"a"b', "inch-mark": '5"', "doubled-outside": 'a""b', "only-one": '"', "three": '"""', "four": '""""',
        "single": "'a,b'", "backslash": '"a\\"b"', "newline": '"a\nb"', "crlf": '"a\r\nb"', "space-before": ' "a"', "space-after": '"a" ',
        "many-newlines": '"' + "\n" * 10_000 + '"', "long": '"' + "a,b\n" * 50_000 + '"', "delimiters": '",,,,,,,"', "smart": "“a”",
    }.items():  # fmt: skip
        yield csv(f"quote-{what}", GOOD + f"q1,2024-05-01,true,sail,north,5,3,{field}\n".encode() + ROW.encode() + b"\n")
        yield csv(f"quote-{what}-at-end", GOOD + f"q1,2024-05-01,true,sail,north,5,3,{field}".encode())
    yield csv("quoted-header", ",".join(f'"{name}"' for name in HEADER.split(",")) + "\n" + ROW + "\n")
    yield csv("unclosed-header", '"' + HEADER + "\n" + ROW + "\n")
    yield csv("all-quotes", b'"' * 100_001)


def _headers() -> Iterator[BadFile]:
    names = HEADER.split(",")
    yield csv("duplicate-header", HEADER + ",id\n" + ROW + ",x\n")
    yield csv("no-header", "\n".join(LINES[1:]))
    yield csv("header-in-other-case", GOOD.replace(HEADER.encode(), HEADER.upper().encode()))
    yield csv("header-with-spaces", GOOD.replace(HEADER.encode(), ", ".join(names).encode()))
    yield csv("header-twice", HEADER + "\n" + GOOD.decode())
    yield csv("header-of-empty-names", "," * 7 + "\n" + ROW + "\n")
    yield csv("semicolons", GOOD.replace(b",", b";"))
    yield csv("tabs", GOOD.replace(b",", b"\t"))
    yield csv("pipes", GOOD.replace(b",", b"|"))
    yield csv("sep-line-of-excel", b"sep=,\n" + GOOD)
    yield csv("comment-first", b"# exported today\n" + GOOD)
    yield csv("blank-line-first", b"\n" + GOOD)
    yield csv("bom-twice", b"\xef\xbb\xbf" * 2 + GOOD)
    yield csv("5000-columns", ",".join([*names, *(f"x{i}" for i in range(5000))]) + "\n" + ROW + "," * 5000 + "\n")
    yield csv("5000-other-columns", ",".join(f"x{i}" for i in range(5000)) + "\n" + "," * 4999 + "\n")
    for name in names:
        at = names.index(name)
        yield csv(f"without-{name}", "\n".join(",".join(f for i, f in enumerate(line.split(",")) if i != at) for line in LINES))
        yield csv(f"misspelt-{name}", GOOD.replace(name.encode(), name.encode() + b"_", 1))


def _encodings() -> Iterator[BadFile]:
    text = GOOD.decode().replace("north", "nörth")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp037", "utf-7"):
        yield csv(f"in-{encoding}", text.encode(encoding))
    yield csv("overlong-utf-8", GOOD + b"\xc0\xaf\n")
    yield csv("surrogate-utf-8", GOOD + b"\xed\xa0\x80\n")
    yield csv("lone-continuation", GOOD + b"\x80\n")
    yield csv("half-utf-8-half-latin-1", text.encode() + text.encode("latin-1"))


def _values() -> Iterator[BadFile]:
    fields = {
        "id": ["", " ", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "x" * 100_000, "b1-0", "é" * 50, "\u202eevil", "\u200b", "../../etc/passwd", "🚤"],
        "day": ["0000-00-00", "2024-02-30", "9999-12-31T23:59:59", "-0001-01-01", "1e9", "2024-05-01T25:00:00", "01/05/2024", "now", "300000-01-01"],
        "sank": ["yes", "2", "TRUE ", "tRuE", "ｔｒｕｅ"],
        "length_m": ["1e400", "-0", "NaN", "1,5", "0x10", "1__0", "١٢", "1e-400", "--5", "9" * 400, "1.5.2", "Infinity", "1e", "5 m"],
        "crew": ["9223372036854775808", "1e3", "3.0", "-9223372036854775809", "0b1", "９", "1'000", " 3"],
        "kind": ["SAIL", "sail ", "null", "None", "NaN", "<script>alert(1)</script>", "'; DROP TABLE boats;--", "{{7*7}}", "${jndi:ldap://x}"],
    }  # fmt: skip
    names = HEADER.split(",")
    for name, values in fields.items():
        for number, value in enumerate(values):
            row = ROW.split(",")
            row[names.index(name)] = f'"{value}"' if "," in value else value
            yield csv(f"value-{name}-{number}", GOOD + ",".join(row).encode() + b"\n")
    yield csv("every-key-the-same", HEADER + "\n" + (ROW + "\n") * 500)


def _packed() -> Iterator[BadFile]:
    packed = gzip.compress(GOOD)
    for end in (1, 5, 10, 11, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        yield csv(f"gzip-cut-at-{end}", packed[:end], "a.csv.gz")
    yield csv("gzip-empty-file", b"", "a.csv.gz")
    yield csv("gzip-of-nothing", gzip.compress(b""), "a.csv.gz")
    yield csv("gzip-that-is-none", GOOD, "a.csv.gz")
    yield csv("gzip-wrong-checksum", packed[:-8] + b"\0" * 8, "a.csv.gz")
    yield csv("gzip-and-then-text", packed + b"more", "a.csv.gz")
    yield csv("gzip-twice", gzip.compress(packed), "a.csv.gz")
    yield csv("gzip-not-named-so", packed)
    yield csv("gzip-bomb", gzip.compress(GOOD + b"x," * 50_000_000, 9), "a.csv.gz")
    yield csv("gzip-bomb-of-newlines", gzip.compress(GOOD + b"\n" * 100_000_000, 9), "a.csv.gz")
    squeezed = zstd.compress(GOOD)
    for end in (1, 4, len(squeezed) // 2, len(squeezed) - 1):
        yield csv(f"zstd-cut-at-{end}", squeezed[:end], "a.csv.zst")
    yield csv("zstd-that-is-none", GOOD, "a.csv.zst")
    yield csv("zstd-bomb", zstd.compress(GOOD + b"x," * 50_000_000), "a.csv.zst")
    yield csv("zstd-and-then-text", squeezed + b"more", "a.csv.zst")


def _other_formats() -> Iterator[BadFile]:
    sheet = io.BytesIO()
    with zipfile.ZipFile(sheet, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    parquet = io.BytesIO()
    pl.read_csv(GOOD).write_parquet(parquet)
    for what, data in {
        "xlsx": sheet.getvalue(), "pdf": b"%PDF-1.7\n1 0 obj\n", "html": b"<!DOCTYPE html><html><body>Sign in</body></html>", "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "json-array": json.dumps([{"id": "b1"}]).encode(),
        "parquet": parquet.getvalue(), "elf": b"\x7fELF" + bytes(range(256)), "noise": random.Random(1).randbytes(50_000), "sqlite": b"SQLite format 3\0",
    }.items():  # fmt: skip
        yield csv(f"is-{what}", data)
    for name in ("a.xlsx", "a", ".csv", "a.CSV", "a.csv.zip", "a.csv.bz2", "a.tsv", "a.csv ", "ä b.csv", "..csv", "a.csv.gz.gz"):
        yield csv(f"named-{name}", GOOD, name)


def _jsonl() -> Iterator[BadFile]:
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    good = "".join(json.dumps(row | {"id": f"j{i}"}) + "\n" for i in range(5))
    for what, text in {
        "empty": "", "blank": "\n\n", "array": "[" + good.replace("\n", ",") + "]", "pretty": json.dumps(row, indent=2), "text": "hello\n", "number": "1\n2\n",
        "nested": json.dumps(row | {"kind": {"a": [1]}}), "list": json.dumps(row | {"crew": [1]}), "nan": good + json.dumps(row | {"crew": float("nan")}),
        "huge-number": good + '{"id": "x", "crew": ' + "9" * 5000 + "}", "deep": good + "[" * 100_000, "surrogate": good + '{"id": "\\ud800"}',
        "name-twice": good + '{"id": "a", "id": "b"}', "cut": good[:-20], "bom": "\ufeff" + good, "nul": good + '{"id": "a\\u0000b"}', "null": good + "null",
        "no-newline": good * 3 + "{", "other-fields": '{"a": 1}\n' * 20, "new-names": "".join(json.dumps({f"x{i}": 1}) + "\n" for i in range(3000)),
        "true": good + json.dumps(row | {"length_m": True}), "csv": GOOD.decode(), "single-quotes": str(row), "ten-mb": good + '{"note": "' + "x" * 10_000_000 + '"}',
    }.items():  # fmt: skip
        yield BadFile(f"jsonl-{what}", "jsonl", "a.jsonl", text.encode())
    yield BadFile("jsonl-latin-1", "jsonl", "a.jsonl", good.replace("north", "nörth").encode("latin-1") + b'{"note": "\xe9"}')
    yield BadFile("jsonl-gzip-cut", "jsonl", "a.jsonl.gz", gzip.compress(good.encode())[:-9])


def _parquet() -> Iterator[BadFile]:
    frame = pl.read_csv(GOOD, infer_schema=False)

    def written(frame: pl.DataFrame) -> bytes:
        out = io.BytesIO()
        frame.write_parquet(out)
        return out.getvalue()

    whole = written(frame)
    for end in (0, 3, 4, 8, 12, 100, len(whole) // 2, len(whole) - 1):
        yield BadFile(f"parquet-cut-at-{end}", "parquet", "a.parquet", whole[:end])
    for what, other in {
        "other-schema": pl.DataFrame({"a": [1]}), "no-rows": frame[:0], "nested": frame.with_columns(crew=pl.lit([1, 2])), "struct": frame.with_columns(kind=pl.struct("id")),
        "binary": frame.with_columns(note=pl.lit(b"\xff")), "numbers-as-text": frame.with_columns(length_m=pl.lit("abc")), "all-null": frame.with_columns(id=pl.lit(None)),
        "dates": frame.with_columns(day=pl.date(2024, 5, 1)), "times": frame.with_columns(day=pl.time(1, 2)), "infinite": frame.with_columns(length_m=pl.lit(float("inf"))),
        "wide": pl.DataFrame({f"x{i}": ["a"] for i in range(3000)}), "categories": frame.with_columns(pl.col("kind").cast(pl.Categorical)),
        "halves": frame.with_columns(crew=pl.lit(1.5)), "many-rows": pl.DataFrame({"id": pl.Series([None], dtype=pl.String).new_from_index(0, 3_000_000)}),
    }.items():  # fmt: skip
        yield BadFile(f"parquet-{what}", "parquet", "a.parquet", written(other))
    noise = random.Random(2)
    for number in range(12):
        at = noise.randrange(4, len(whole) - 8)
        yield BadFile(f"parquet-damaged-{number}", "parquet", "a.parquet", whole[:at] + noise.randbytes(3) + whole[at + 3 :])


def _mutated() -> Iterator[BadFile]:
    """Good files with a few bytes changed, put in or left out."""
    for number in range(40):
        chance = random.Random(number)
        data = bytearray(GOOD)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice([b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"9", b'""'])
        yield csv(f"mutated-{number}", bytes(data))
