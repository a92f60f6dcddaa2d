//! Measures the running binary beside two bare servers that answer the same call: one on axum alone,
//! one on rmcp alone. All three in one run, since machines differ and figures are ratios.

pub mod bare;
pub mod comparison;
pub mod load;
pub mod process;
pub mod table;
