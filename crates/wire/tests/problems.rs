//! `docs/problems.md` and the code name the same problems.

use portcullis_wire::Slug;

const PAGE: &str = include_str!("../../../docs/problems.md");

fn sections() -> Vec<(&'static str, &'static str)> {
    PAGE.split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .collect()
}

#[test]
fn every_problem_is_documented_in_order_and_no_other() {
    let documented: Vec<_> = sections().iter().map(|(slug, _)| *slug).collect();
    let known: Vec<_> = Slug::ALL.iter().map(|slug| slug.as_str()).collect();
    assert_eq!(documented, known);
}

#[test]
fn statuses_titles_and_remedies_stand_beside_them() {
    for (slug, (_, text)) in Slug::ALL.iter().zip(sections()) {
        let line = format!("**{}** · {}.", slug.status(), slug.title());
        assert!(text.contains(&line), "{}: {line}", slug.as_str());
        assert!(text.contains("*Remedy.* "), "{}", slug.as_str());
    }
}
