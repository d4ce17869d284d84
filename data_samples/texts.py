"""Words of the samples: real-looking texts with everything that goes wrong in encodings and quoting.

None holds NUL, a lone surrogate or U+FEFF: those are quirks, and quirks.py puts them in by name.
"""

from __future__ import annotations

FIRST_NAMES = (
    "Anna", "Jürgen", "Zoë", "Łukasz", "Renée", "Søren", "美咲", "Дмитрий", "Ayşe", "José",
    "Nguyễn", "Bjørk", "Mehmet", "Chloé", "伟", "Ingeborg", "Siobhán", "Tomáš", "Fatima", "Liam",
)  # fmt: skip

LAST_NAMES = (
    "Müller", "O'Brien", "Weiß", "García", "王", "田中", "Öztürk", "Kowalczyk", "Ångström", "van der Berg",
    "D'Angelo", "Schröder", "Иванов", "Nováková", "Smith", "김", "Hernández", "Le Gall", "Straße", "Ðorđević",
)  # fmt: skip

EMAIL_NAMES = (
    "anna", "Juergen", "zoe", "LUKASZ", "renee", "soren", "misaki", "Dmitri", "ayse", "jose",
    "nguyen", "bjork", "Mehmet", "chloe", "wei", "ingeborg", "Siobhan", "tomas", "FATIMA", "liam",
)  # fmt: skip

STREETS = (
    "Hauptstraße", "Königsallee", "Rue de l'Église", "Calle Peñón", "Görlitzer Weg", "Bahnhofplatz",
    "Am Köllnischen Park", "銀座通り", "Łąkowa", "St. John's Lane",
)  # fmt: skip

CITIES = (
    ("Dresden", "01067", "DE"), ("Köln", "50667", "DE"), ("München", "80331", "DE"), ("Zürich", "8001", "CH"),
    ("Kraków", "30-001", "PL"), ("Malmö", "211 18", "SE"), ("Besançon", "25000", "FR"), ("東京", "100-0001", "JP")
)  # fmt: skip

TITLES = (
    "Sonnige Altbauwohnung mit Balkon", 'Loft "Am Kanal"', "Schönes WG-Zimmer 🏡", "Maisonette, 2. OG",
    "L'appartement d'Émile", "駅近ワンルーム", "Penthouse – 360° view", "Studio & Küche", "50% möbliert",
)  # fmt: skip

DESCRIPTIONS = (
    "",
    "Ruhige Lage, kurze Wege.\nHaustiere nach Absprache.",
    'Vermieter sagt: "ab sofort frei". It\'s 5 min to the station.',
    "Fußbodenheizung, Einbauküche, Größe siehe Grundriss 📐",
    "閑静な住宅街。ペット相談可。🐈‍⬛",
    "C:\\pläne\\grundriss.pdf\tsiehe Anhang",
    "Preis: 1.250,00 € warm; Kaution = 3 × Kaltmiete",
    "zerlegtes e\u0301 und fertiges \u00e9 sind zwei verschiedene Texte",
    "Zeile mit Leerzeichen am Ende   ",
)

NOTES = (
    None, None, None, None, "", "Miete", "Miete für März", "überwiesen von Oma 👵🏽", "it's late, sorry",
    'Verwendungszweck "Miete"', "分割払い", "Rest folgt; 50% jetzt", "\\N", "a,b\tc\r\nd", "NULL", "  ",
)  # fmt: skip

FEATURES = ("Aufzug", "Küche", "Keller", "garden", "wi-fi 📶", "浴室", "Stellplatz", "Dachgeschoß")
