//! What a property name, or the words before a number, say about the number.
//!
//! A hint only ever adds findings; without one the detectors still guard what they know by form.

use crate::kind::Kind;

/// What the surroundings of a number say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Nothing.
    None,
    /// A phone number follows.
    Phone,
    /// Something is called, perhaps a number.
    Call,
    /// An identifier follows.
    Id,
    /// A social security number follows.
    Ssn,
    /// A national identity number follows.
    National,
}

const PHONE: &[&str] = &[
    "cell",
    "cellphone",
    "cellular",
    "celular",
    "fax",
    "gsm",
    "handy",
    "mob",
    "mobil",
    "mobile",
    "movil",
    "móvil",
    "msisdn",
    "ph",
    "phone",
    "phones",
    "rufnummer",
    "tel",
    "telefax",
    "telefon",
    "telefono",
    "teléfono",
    "telefoon",
    "telephon",
    "telephone",
    "téléphone",
    "tél",
    "whatsapp",
];
/// What national identity numbers are called, without the words for what they are numbers of where
/// other things are called so, too.
const NATIONAL: &[&str] = &[
    "bsn",
    "burgerservicenummer",
    "codicefiscale",
    "dni",
    "idnr",
    "insee",
    "insz",
    "nie",
    "nif",
    "nir",
    "niss",
    "pesel",
    "rijksregisternummer",
    "rvnr",
    "sofinummer",
    "steuerid",
];
const CALL: &[&str] = &[
    "call", "called", "calling", "dial", "reach", "sms", "text", "texted",
];
const ID: &[&str] = &[
    "account",
    "article",
    "batch",
    "case",
    "commit",
    "customer",
    "ean",
    "gtin",
    "id",
    "ids",
    "invoice",
    "isbn",
    "item",
    "lot",
    "order",
    "parcel",
    "part",
    "ref",
    "reference",
    "serial",
    "sku",
    "ticket",
    "tracking",
    "upc",
];
/// Words that may stand between the word that tells and the number.
const FILLER: &[&str] = &[
    "at", "direct", "fixed", "home", "is", "line", "me", "my", "nbr", "no", "nr", "num", "number",
    "on", "or", "our", "the", "us", "was", "work", "your",
];
/// Last words of property names that hold something about a phone, not its number.
const NOT_A_NUMBER: &[&str] = &[
    "at",
    "count",
    "date",
    "id",
    "ids",
    "model",
    "on",
    "status",
    "time",
    "timestamp",
    "total",
    "ts",
    "type",
    "verified",
    "version",
];

/// Reads the words before a number, backwards from its beginning.
pub(crate) fn before_number(text: &str, start: usize) -> Hint {
    let mut rest = text.get(..start).unwrap_or("");
    for _ in 0..4 {
        let trimmed = rest.trim_end_matches(|c: char| !c.is_alphanumeric());
        if rest.len() - trimmed.len() > 6 {
            return Hint::None;
        }
        // Words are looked at as far as the longest of the lists goes.
        let word = last_word(trimmed);
        rest = trimmed.get(..trimmed.len() - word.len()).unwrap_or("");
        if one_of(word, PHONE) {
            return Hint::Phone;
        }
        if one_of(word, CALL) {
            return Hint::Call;
        }
        let previous = last_word(rest.trim_end_matches(|c: char| !c.is_alphanumeric()));
        if one_of(word, NATIONAL) || is_fiscal(previous, word) {
            return Hint::National;
        }
        if one_of(word, ID) {
            return Hint::Id;
        }
        if one_of(word, &["ssn"])
            || (one_of(word, &["security"]) && one_of(last_word(rest.trim_end()), &["social"]))
        {
            return Hint::Ssn;
        }
        if !one_of(word, FILLER) {
            return Hint::None;
        }
    }
    Hint::None
}

/// The alphanumeric characters at the end, at most 20 of them.
fn last_word(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .take(20)
        .take_while(|(_, c)| c.is_alphanumeric())
        .last()
        .map_or(text.len(), |(index, _)| index);
    text.get(start..).unwrap_or("")
}

fn one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// What a property name says about a number that is the property's value.
pub(crate) fn of_name(name: &str) -> Hint {
    let mut hint = Hint::None;
    let mut last = "";
    for word in words(name) {
        if one_of(word, &["ssn"]) || (one_of(word, &["security"]) && one_of(last, &["social"])) {
            hint = Hint::Ssn;
        } else if one_of(word, NATIONAL) || is_fiscal(last, word) {
            hint = Hint::National;
        } else if one_of(word, PHONE) || ends_with_phone(word) {
            hint = Hint::Phone;
        }
        last = word;
    }
    // `steuer_id` and `national_id` end with the word that speaks of others' identifiers elsewhere.
    if hint == Hint::National {
        return hint;
    }
    if one_of(last, NOT_A_NUMBER) || (hint == Hint::None && one_of(last, ID)) {
        Hint::Id
    } else {
        hint
    }
}

/// `codice fiscale`, `national_id`, `steuer-id`: two words that tell together.
fn is_fiscal(first: &str, second: &str) -> bool {
    (one_of(first, &["codice"]) && one_of(second, &["fiscale"]))
        || (one_of(first, &["national", "steuer"]) && one_of(second, &["id", "number"]))
}

/// Whether one of these words stands right before a place, at most a space or two off.
pub(crate) fn follows(text: &str, place: usize, words: &[&str]) -> bool {
    let rest = text.get(..place).unwrap_or("");
    let trimmed = rest.trim_end_matches([' ', '.', ':']);
    rest.len() - trimmed.len() <= 2 && one_of(last_word(trimmed), words)
}

/// The kind that a property's name speaks of, to choose the mask of a rule.
pub(crate) fn kind_of_name(name: &str) -> Option<Kind> {
    if words(name).any(|word| one_of(word, &["email", "emails", "mail", "mails"])) {
        return Some(Kind::Email);
    }
    match of_name(name) {
        Hint::Phone => Some(Kind::Phone),
        Hint::Ssn => Some(Kind::Ssn),
        Hint::National => Some(Kind::NationalId),
        Hint::None | Hint::Id | Hint::Call => None,
    }
}

/// `workphone`, `homephone`, but not `iphone`.
fn ends_with_phone(word: &str) -> bool {
    word.len() > "iphone".len()
        && word
            .len()
            .checked_sub("phone".len())
            .and_then(|at| word.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case("phone"))
}

/// The words of `phone_number`, `phone-number`, `phoneNumber`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let mut lower_before = false;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                let boundary = !c.is_alphanumeric() || (c.is_uppercase() && lower_before);
                lower_before = c.is_lowercase();
                boundary
            })
            .map_or(rest.len(), |(index, _)| index);
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}
