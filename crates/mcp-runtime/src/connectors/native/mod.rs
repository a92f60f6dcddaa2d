//! Tools that the platform brings along: on tables of the regional pools, and one that fetches.

pub mod fetch;
pub mod flags;
pub mod orders;

use portcullis_domain::ToolDefinition;

/// The definitions of the native tools, as new tenants get them.
pub fn definitions() -> Vec<ToolDefinition> {
    [
        include_str!("flag.get.json"),
        include_str!("flag.set.json"),
        include_str!("orders.export.json"),
        include_str!("orders.get.json"),
        include_str!("web.fetchSafe.json"),
    ]
    .into_iter()
    .filter_map(|text| serde_json::from_str(text).ok())
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_definition_of_the_folder_is_read() {
        let names: Vec<_> = super::definitions()
            .into_iter()
            .map(|tool| tool.name)
            .collect();
        assert_eq!(
            names,
            [
                "flag.get",
                "flag.set",
                "orders.export",
                "orders.get",
                "web.fetchSafe"
            ]
        );
    }
}
