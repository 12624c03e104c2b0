"""The publishers whose real data lies in the `shared` folder, by the names of their folders."""

PUBLISHERS = (
    "armenia-armeps",
    "canada-buyandsell",
    "colombia-secop",
    "honduras-oncae",
    "malaysia-cidb",
    "mexico-inai",
    "moldova-etenders",
    "nigeria-budeshi",
    "taiwan-pcc",
    "tunisia-haicop",
    "uk-contracts-finder",
)
