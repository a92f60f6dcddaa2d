//! Each detector: what it finds, what it must leave alone.

use super::*;

#[test]
fn e_mail_addresses_are_found_whole() {
    one("write to a@ex.com", Kind::Email, "a@ex.com");
    one(
        "<Jane.Doe+spam@mail.example.co.uk>.",
        Kind::Email,
        "Jane.Doe+spam@mail.example.co.uk",
    );
    one(
        "mailto:o'brien@example.com?subject=x",
        Kind::Email,
        "o'brien@example.com",
    );
    one(
        "Grüße an jürgen@müller.example.",
        Kind::Email,
        "jürgen@müller.example",
    );
    one("用户@例子.广告", Kind::Email, "用户@例子.广告");
    one(
        "请联系alice@example.com谢谢",
        Kind::Email,
        "alice@example.com",
    );
    one(
        "\"john doe\"@example.com",
        Kind::Email,
        "\"john doe\"@example.com",
    );
    one("x@[192.168.0.1]", Kind::Email, "x@[192.168.0.1]");
    one(
        "?a=1&email=bob@example.com&b=2",
        Kind::Email,
        "bob@example.com",
    );
    one(
        "alice@example.com-and more",
        Kind::Email,
        "alice@example.com",
    );
    one("info@163.com", Kind::Email, "info@163.com");
    one(
        "bob@xn--bcher-kva.example",
        Kind::Email,
        "bob@xn--bcher-kva.example",
    );
    let both = "a@example.org,b@example.org";
    assert_eq!(
        seen(both),
        [
            (Kind::Email, "a@example.org"),
            (Kind::Email, "b@example.org")
        ]
    );
}

#[test]
fn what_only_looks_like_an_address_is_left_alone() {
    for text in [
        "@alice",
        "a @ b.com",
        "meet @ 5 p.m.",
        "***@***",
        "logo@2x.png",
        "left-pad@1.3.0",
        "user@localhost",
        "@scope/package",
        "x@1.2.3-beta.1",
        "a@b",
        "5@3.20",
        "@@@@",
        "@.com",
        "{\"a\":\"x\",\"b\":\"@example.com\"}",
    ] {
        clean(text);
    }
}

#[test]
fn phone_numbers_are_found_in_the_ways_people_write_them() {
    for number in [
        "+15551234567",
        "+1 555 123 4567",
        "+1-555-123-4567",
        "+1 (555) 123-4567",
        "+49 (0)30 123456",
        "+49 30 901820",
        "+44 20 7183 8750",
        "+33 1 23 45 67 89",
        "+91 98765 43210",
        "+7 (495) 123-45-67",
        "555-123-4567",
        "555.123.4567",
        "555 123 4567",
        "1-800-555-0199",
        "030 1234567",
        "0171/1234567",
        "01 23 45 67 89",
        "01.23.45.67.89",
        "020 7183 8750",
        "07700 900123",
        "0412 345 678",
        "02-1234-5678",
        "090-1234-5678",
        "612 34 56 78",
        "8 495 123-45-67",
        "138 1234 5678",
        "0049 30 123456",
        "1300 123 456",
        "98765 43210",
        "0612345678",
        "0800 1262",
        "08-12 39 67",
        "40 61 23 59",
        "+683 7011",
        "21 234 5683",
        "01512 3411165",
    ] {
        one(&format!("at {number} daily"), Kind::Phone, number);
        one(number, Kind::Phone, number);
    }
    one("Call (555) 123-4567 now", Kind::Phone, "555) 123-4567");
    one("tel:5551234567", Kind::Phone, "5551234567");
    one("My phone number is 5551234567.", Kind::Phone, "5551234567");
    one("fax 123 4567", Kind::Phone, "123 4567");
}

#[test]
fn integers_dates_times_codes_and_ids_are_not_phone_numbers() {
    for text in [
        "5551234567",
        "1001",
        "order 20250825001",
        "2025-08-25",
        "25.08.2025 13:45",
        "08/25/2025",
        "2025-08-25T12:30:45.123456789Z",
        "2025-08-25 12:30:45+02:00",
        "01-02-2025 12:30",
        "1724589000",
        "1724589000123",
        "127.100.100.100",
        "10.15.7",
        "1.234.567,89",
        "1,234,567.89 EUR",
        "1 234 567",
        "$1234567.89",
        "ord-555-123-4567",
        "INV-2024-0012345",
        "12345678-1234-1234-1234-123456789012",
        "404-1234567-1234567",
        "978-3-16-148410-0",
        "0-306-40615-2",
        "94105-1234",
        "2010-2020",
        "0001-0002-0003",
        "order 0123456789",
        "ISBN 0306406152",
        "0001234567",
        "#0123456789",
        "012345678",
        "open 0900-1700",
        "ul. Krótka 08/93 61-611",
        "1 991 738 7304 2",
        "23 34 45 46 12",
        "52.520008, 13.404954",
        "0.5551234567",
        "00-11-22-33-44-55",
        "5+12345678",
        "12 2024 2025",
        "612 345 678 EUR",
        "912 345 678,50",
        "phone_verified_at: 2025-08-25",
        "v1.555-123-4567",
        "call id 123456789",
        "phone order 1234567",
        "+0200",
    ] {
        clean(text);
    }
}

#[test]
fn a_property_named_as_a_phone_tells_what_its_digits_are() {
    assert_eq!(
        guard(json!({"phone": "555-123"})),
        json!({"phone": "***-***"})
    );
    assert_eq!(
        guard(json!({"workPhone": "5551234567"})),
        json!({"workPhone": "***-***"})
    );
    assert_eq!(
        guard(json!({"mobiles": 1, "mobile": ["5551234567"]})),
        json!({"mobiles": 1, "mobile": ["***-***"]})
    );
    assert_eq!(guard(json!({"tel": 15_551_234_567_u64})), json!({"tel": 0}));
    assert_eq!(guard(json!({"ssn": "123456789"})), json!({"ssn": "***"}));
    for clean in [
        json!({"phone_verified_at": "2025-08-25 12.30"}),
        json!({"phone_verified_at": 1_724_589_000}),
        json!({"iphone": "1234567"}),
        json!({"phone_id": "12345678"}),
        json!({"phone": "unknown"}),
        json!({"orderId": "0123456789"}),
        json!({"orders": "5551234567", "count": 15_551_234_567_u64}),
    ] {
        assert_eq!(guard(clean.clone()), clean);
    }
}

#[test]
fn card_numbers_of_every_network_are_found() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4222222222222",
        "5555555555554444",
        "2221000000000009",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6304000000000000",
        "3501301859548471",
        "2200000000000004",
    ] {
        one(&format!("paid with {card}, thanks"), Kind::Card, card);
    }
    one("card4111111111111111x", Kind::Card, "4111111111111111");
    one(
        "no. 12 4111 1111 1111 1111 12/28",
        Kind::Card,
        "4111 1111 1111 1111",
    );
    assert_eq!(
        guard(json!({"n": 4_111_111_111_111_111_u64})),
        json!({"n": 0})
    );
    assert_eq!(
        guard(json!({"n": 4_111_111_111_111_111.0})),
        json!({"n": 0.0})
    );
}

#[test]
fn numbers_that_fail_the_checks_are_not_cards() {
    for text in [
        "4111111111111112",
        "1234567890123452",
        "0.4539578763621486",
        "4.539578763621486",
        "20250825123045",
        "9999999999999995",
        "41111111111111111111111111",
        "411111111111",
        "45128765-1234-4123-8123-123456789012",
    ] {
        clean(text);
    }
    let numbers =
        json!({"n": 4_111_111_111_111_112_u64, "f": 4.539_578, "i": -4_111_111_111_111_111_i64});
    assert_eq!(guard(numbers.clone()), numbers);
}

#[test]
fn ibans_are_found_with_and_without_spaces() {
    for iban in [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "gb82west12345698765432",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NL91ABNA0417164300",
        "BE68-5390-0754-7034",
        "NO93 8601 1117 947",
        "MT84MALT011000012345MTLCAST001S",
        "ES91 2100 0418 4502 0005 1332",
        "PL61109010140000071219812874",
    ] {
        assert_eq!(seen(&format!("to {iban} please")), [(Kind::Iban, iban)]);
    }
    one(
        "IBAN:DE89370400440532013000EUR",
        Kind::Iban,
        "DE89370400440532013000",
    );
}

#[test]
fn an_iban_with_a_slip_in_its_length_is_found_by_its_checksum() {
    one("GB95VCWM7136187173436", Kind::Iban, "GB95VCWM7136187173436");
    clean("cd53e09e772bad73c7c6ae4da7fc4539");
    clean("x-GB95VCWM7136187173436");
}

#[test]
fn ibans_with_a_wrong_digit_country_or_length_are_left_alone() {
    for text in [
        "DE88370400440532013000",
        "ZZ89370400440532013000",
        "DE8937040044053201300",
        "GB82 1234 1234 5698 7654 32",
    ] {
        assert!(
            !seen(text).iter().any(|(kind, _)| *kind == Kind::Iban),
            "in {text}"
        );
    }
}

#[test]
fn social_security_numbers_need_their_form_or_their_name() {
    one("123-45-6789", Kind::Ssn, "123-45-6789");
    one("is 123 45 6789.", Kind::Ssn, "123 45 6789");
    one("SSN: 123456789", Kind::Ssn, "123456789");
    one("social security number 123456789", Kind::Ssn, "123456789");
    for text in [
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "123456789",
        "1123-45-6789",
        "A-123-45-6789",
        "123-45-6789-1",
    ] {
        clean(text);
    }
}

#[test]
fn secrets_are_found_by_their_form() {
    let jwt = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJwcm5fMSJ9.c2lnbmF0dXJlLWJ5dGVz";
    let client = format!("pcs_{}", "aB3-".repeat(11));
    let github = format!("ghp_{}", "a1B2".repeat(9));
    for secret in [
        "AKIAIOSFODNN7EXAMPLE",
        jwt,
        &client,
        &github,
        "xoxb-123456789012-abcdef",
        "glpat-abcdefghij1234567890",
        "AIzaSyA1234567890abcdefghijklmnopqrstuvw",
        "pst_0123456789abcdef.aaaaaaaaaaaaaaaaaaa",
        "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbb",
    ] {
        one(&format!("key={secret}, next"), Kind::Secret, secret);
    }
    one(
        "Authorization: Bearer abcdefghij0123456789",
        Kind::Secret,
        "abcdefghij0123456789",
    );
    one("postgres://app:s3cret@db/orders", Kind::Secret, "s3cret");
    one(
        "x -----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY----- y",
        Kind::Secret,
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
    );
    one(
        "x -----BEGIN EC PRIVATE KEY-----\nMIIB",
        Kind::Secret,
        "-----BEGIN EC PRIVATE KEY-----\nMIIB",
    );
}

#[test]
fn ordinary_tokens_are_not_secrets() {
    for text in [
        "prn_0198d0a2b3c4d5e6f708192a3b4c5d6e",
        "tnt_01HZX3K9",
        "task-oriented-programming-language",
        "AKIA",
        "eyJhbGciOiJFZERTQSJ9",
        "bearer authentication-required",
        "https://example.com:8080/path@v2",
        "-----BEGIN CERTIFICATE-----",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "postgres://app:***@db/orders",
        "0198d0a2-b3c4-7d5e-8f70-8192a3b4c5d6",
    ] {
        clean(text);
    }
}

#[test]
fn overlapping_findings_become_one_stretch() {
    assert_eq!(text("+15551234567@sms.example.com"), "***@***");
    assert_eq!(text("a@example.com@b.example"), "***@***");
    assert_eq!(
        text("a@example.com and 4111111111111111"),
        "***@*** and ***"
    );
}

#[test]
fn addresses_of_machines_are_found_in_both_versions() {
    for text in [
        "203.0.113.77",
        "8.8.8.8",
        "192.168.100.12",
        "2001:db8::1",
        "2001:DB8:0:0:8:800:200C:417A",
        "fe80::1ff:fe23:4567:890a",
        "::ffff:203.0.113.77",
        "64:ff9b::203.0.113.77",
    ] {
        for sentence in [
            text.to_owned(),
            format!("from {text}, twice"),
            format!("It was {text}."),
            format!("[{text}]:8443"),
            format!("{{\"ip\":\"{text}\"}}"),
            format!("http://{text}/"),
            format!("{text}/24"),
            format!("ip={text}&x"),
        ] {
            one(&sentence, Kind::Ip, text);
        }
    }
    let (port, range) = ("203.0.113.7:8080", "203.0.113.1-203.0.113.9");
    one(port, Kind::Ip, "203.0.113.7");
    assert_eq!(
        seen(range),
        [(Kind::Ip, "203.0.113.1"), (Kind::Ip, "203.0.113.9")]
    );
}

#[test]
fn what_only_looks_like_an_address_or_names_no_machine_stays() {
    for text in [
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.0",
        "224.0.0.251",
        "::1",
        "::",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "v1.2.3.4",
        "version 10.15.7.1",
        "section 4.2.1.3",
        "lib-1.2.3.4-r0",
        "lib_1.2.3.4",
        "1.2.3.4.tar.gz",
        "12:30:45",
        "00:1a:2b:3c:4d:5e",
        "std::fmt::Debug",
        "a::b",
        "add::cafe",
        "dead:beef",
        "1::2",
    ] {
        clean(text);
    }
}

#[test]
fn identity_numbers_of_seven_countries_are_found() {
    for text in [
        "86095742719",
        "86 095 742 719",
        "15 070649 C 103",
        "65170839J003",
        "1 84 12 76 451 089 46",
        "184127645108946",
        "2 69 05 49 588 157 80",
        "12345678Z",
        "12.345.678-Z",
        "X1234567L",
        "x-1234567-l",
        "RSSMRA85T10A562S",
        "rssmra85t10a562s",
        "44051401359",
        "85.07.30-033.28",
        "85073003328",
        "1112.22.333",
    ] {
        for sentence in [
            text.to_owned(),
            format!("It is {text}, he says."),
            format!("({text})"),
            format!("<td>{text}</td>"),
        ] {
            one(&sentence, Kind::NationalId, text);
        }
    }
    one("BSN: 111222333", Kind::NationalId, "111222333");
    one("BSN 111 222 333", Kind::NationalId, "111 222 333");
    let named = json!({"bsn": 111_222_333, "national_id": "12345678901", "steuer_id": "1"});
    assert_eq!(
        guard(named),
        json!({"bsn": 0, "national_id": "***", "steuer_id": "1"})
    );
}

#[test]
fn numbers_that_fail_their_check_or_stand_in_another_are_no_identity_numbers() {
    for text in [
        "86095742718",
        "86905742719",
        "65170839J008",
        "184127645108947",
        "12345678A",
        "X1234567M",
        "RSSMRA85T10A562T",
        "44051401358",
        "85.07.30-033.29",
        "1112.22.334",
        "111222333",
        "order 86095742719",
        "ORD-86095742719",
        "86095742719-1",
        "A86095742719",
        "860957427190",
    ] {
        assert!(
            !seen(text).iter().any(|(kind, _)| *kind == Kind::NationalId),
            "in {text}"
        );
    }
}
