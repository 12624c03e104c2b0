"""The countries of fiction whose procurement the demo invents: their places, bodies, goods and words.

Belongs here: words alone. Does not belong here: how they are put together (`invent`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """The words of one country.

    Attributes:
        name: its name, in its own language.
        prefix: what its ocids begin with.
        language: ISO 639-1.
        currencies: ISO 4217 codes, the usual one first.
        towns: where its bodies are.
        bodies: the buyers, without their towns.
        trades: what suppliers call themselves, after a family's name.
        families: family names.
        items: goods, works and services, each with its unit and a usual price of one.
        reasons: why something is bought.
        titles: sentences with `{item}` and `{town}`.
    """

    name: str
    prefix: str
    language: str
    currencies: tuple[str, ...]
    towns: tuple[str, ...]
    bodies: tuple[str, ...]
    trades: tuple[str, ...]
    families: tuple[str, ...]
    items: tuple[tuple[str, str, int], ...]
    reasons: tuple[str, ...]
    titles: tuple[str, ...]


RURITANIA = Country(
    name="Ruritania",
    prefix="ocds-rurit0",
    language="en",
    currencies=("EUR", "CHF"),
    towns=("Strelsau", "Hofbau", "Zenda", "Tarlenheim", "Festenburg"),
    bodies=("Royal Works Office", "Board of Bridges", "Hospital of Saint Osra", "School Council", "Forest Service"),
    trades=("& Sons", "Brothers", "Cooperative", "Works", "Trading House"),
    families=("Albrechtson", "Bauerle", "Czekan", "Detchard", "Eppenfeld", "Fritzing", "Gautet", "Holf", "Ivernest"),
    items=(
        ("oak beams", "piece", 140),
        ("street lanterns", "piece", 420),
        ("school desks", "piece", 95),
        ("bridge inspections", "day", 800),
        ("snow clearing", "hour", 65),
        ("hospital beds", "piece", 1900),
        ("saplings", "hundred", 75),
    ),
    reasons=("What is there is worn out", "Demand has grown", "The law asks for it", "The last contract has ended"),
    titles=("{item} for {town}", "Purchase of {item}, {town}", "{town}: framework for {item}"),
)

GRAUSTARK = Country(
    name="Graustark",
    prefix="ocds-graust",
    language="en",
    currencies=("EUR", "USD", "GBP", "JPY", "SEK", "CHF"),
    towns=("Edelweiss", "Ganlook", "Labbot", "Serros", "Blazing Rock", "Volga Fort", "Balak", "Caspar"),
    bodies=(
        "Ministry of Roads",
        "Ministry of Health",
        "State Railways",
        "Water Board",
        "University",
        "Municipality",
        "Police Directorate",
        "Agency of Digital Affairs",
        "School District",
        "Museum Trust",
    ),
    trades=("Ltd", "Partners", "Construction", "Systems", "Medical", "Logistics", "Foods", "Energy", "Consulting"),
    families=("Anguish", "Baldos", "Calhoun", "Dangloss", "Enrikson", "Grenfall", "Halfont", "Jalonick", "Kroslav"),
    items=(
        ("asphalt", "tonne", 88),
        ("railway sleepers", "piece", 61),
        ("insulin", "box", 34),
        ("water meters", "piece", 47),
        ("laptop computers", "piece", 910),
        ("cleaning services", "month", 3400),
        ("patrol cars", "piece", 31500),
        ("school meals", "portion", 4),
        ("electricity", "megawatt hour", 120),
        ("software maintenance", "month", 5200),
        ("road works", "kilometre", 410000),
        ("archive boxes", "hundred", 130),
        ("legal advice", "hour", 190),
        ("X-ray machines", "piece", 68000),
    ),
    reasons=(
        "Stocks are below the reserve that the ordinance asks for",
        "The equipment has reached the end of its life",
        "The annual plan foresees it",
        "An inspection found defects that have to be mended",
        "The number of users has grown beyond what is there",
    ),
    titles=(
        "Supply of {item} to {town}",
        "{item} for the district of {town}",
        "Open procedure: {item} ({town})",
        "{town}, call-off of {item}",
        "Renewal of the contract for {item} in {town}",
    ),
)

COSTAGUANA = Country(
    name="Costaguana",
    prefix="ocds-costag",
    language="es",
    currencies=("USD", "EUR"),
    towns=("Sulaco", "Santa Marta", "Esmeralda", "Rinc\u00f3n", "Los Hatos"),
    bodies=(
        "Alcald\u00eda",
        "Direcci\u00f3n de Puertos",
        "Hospital Provincial",
        "Ferrocarril Nacional",
        "Ministerio de Minas",
    ),
    trades=("e Hijos", "S. A.", "y C\u00eda.", "Compa\u00f1\u00eda Minera", "Transportes"),
    families=(
        "Avellanos",
        "Barrios",
        "Corbel\u00e1n",
        "Fuentes",
        "G\u00f3mez",
        "Mu\u00f1iz",
        "Ordo\u00f1ez",
        "Ya\u00f1ez",
    ),
    items=(
        ("carb\u00f3n", "tonelada", 95),
        ("rieles de acero", "pieza", 310),
        ("vacunas", "dosis", 12),
        ("reparaci\u00f3n de muelles", "d\u00eda", 1500),
        ("uniformes", "pieza", 38),
    ),
    reasons=("El plan anual lo prev\u00e9", "Lo existente est\u00e1 gastado", "La demanda ha crecido"),
    titles=(
        "Adquisici\u00f3n de {item} para {town}",
        "{town}: contrataci\u00f3n de {item}",
        "Suministro de {item} en {town}",
    ),
)
