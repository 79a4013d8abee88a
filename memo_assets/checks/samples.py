"""The check of the samples: their ids, and whether they say what the raw items say.

What belongs here: what can be told from samples and raw items. What does not: tokens (`tokens`), classes (`predictors`).
"""

import duckdb
import pyarrow.parquet as pq

from memo_assets.checks.verdict import Verdict, numbered
from memo_assets.store.layout import Layout

# Where an image out of distribution has taken the place of a sample, no raw item speaks of it.
_LOAD_SAMPLES = """
CREATE TABLE s AS
SELECT sample_id, item_id, true_label, options, hash({content}) AS content, {canary} IS DISTINCT FROM 'ood' AS is_item,
       options[true_index + 1] = true_label AND options[given_index + 1] = given_label AND {prompt}
         AND (given_index = true_index OR part = 'pool' AND label_status = 'random') AS is_consistent
FROM read_parquet(?, hive_partitioning = false)
"""
_LOAD_ITEMS = """
CREATE TABLE i AS
SELECT file_row_number AS sample_id, item_id, label, options, hash({content}) AS content
FROM read_parquet(?, hive_partitioning = false, file_row_number = true)
"""
_FAULTS = {
    "ids_that_occur_again": (
        "SELECT coalesce(sample_id, -1) FROM s GROUP BY 1 HAVING count(*) > 1 ORDER BY 1",
        "sample_ids that occur more than once",
    ),
    "shared_item_ids": (
        "SELECT min(sample_id) FROM s GROUP BY item_id HAVING count(*) > 1 ORDER BY 1",
        "samples whose item_id others bear too",
    ),
    "without_item": (
        "SELECT coalesce(sample_id, -1) FROM s ANTI JOIN i USING (sample_id) ORDER BY 1",
        "samples without a raw item of that number",
    ),
    "without_sample": (
        "SELECT sample_id FROM i ANTI JOIN s USING (sample_id) ORDER BY 1",
        "raw items without a sample",
    ),
    "other_than_raw": (
        """
        SELECT sample_id FROM s JOIN i USING (sample_id)
        WHERE is_item AND (s.item_id IS DISTINCT FROM i.item_id OR s.content IS DISTINCT FROM i.content
          OR true_label IS DISTINCT FROM label OR s.options IS DISTINCT FROM i.options)
        ORDER BY 1
        """,
        "samples with another id, content, label or options than their raw item",
    ),
    "inconsistent": (
        "SELECT coalesce(sample_id, -1) FROM s WHERE is_consistent IS NOT true ORDER BY 1",
        "samples whose labels are not the options they point at, whose label is wrong without being noise, or whose "
        "prompt lacks their text",
    ),
}


def ids_unique_and_stable(layout: Layout) -> Verdict:
    """Whether every sample is one raw item, under the id that is the item's row, and says what the item says.

    Contents are compared by DuckDB's 64-bit hash: images are read once and held nowhere.

    Args:
        layout: where samples and raw items lie.
    """
    there = pq.read_schema(layout.samples).names
    is_language = "prompt" in there
    content = "text" if is_language else "image::FLOAT[]"
    canary = "canary" if "canary" in there else "NULL"
    prompt = "contains(prompt, text)" if is_language else "true"
    with duckdb.connect() as connection:
        connection.execute(
            _LOAD_SAMPLES.format(content=content, canary=canary, prompt=prompt), [str(layout.samples)]
        )
        connection.execute(_LOAD_ITEMS.format(content=content), [str(layout.items)])
        found = {
            name: [row[0] for row in connection.execute(query).fetchall()]
            for name, (query, _) in _FAULTS.items()
        }
    n = pq.read_metadata(layout.samples).num_rows
    facts = {"samples": n, **{name: len(ids) for name, ids in found.items()}}
    faults = [f"{_FAULTS[name][1]}: {numbered(ids)}" for name, ids in found.items() if ids]
    if faults:
        expected = (
            "expected each raw item as one sample in its own words: materialize raw_dataset and samples again"
        )
        return Verdict(passed=False, sentence=f"{'; '.join(faults)}; {expected}", facts=facts)
    said = "text" if is_language else "image"
    return Verdict(
        passed=True,
        sentence=f"{n} samples, each id once and with the {said}, label and options of its raw item",
        facts=facts,
    )
