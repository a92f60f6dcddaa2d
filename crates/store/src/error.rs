//! What can go wrong at a database, sorted by what the caller can do about it. It must never carry a
//! value of a row: PostgreSQL's `detail` quotes rows, so it is dropped here.

use sqlx::error::ErrorKind;

/// What the database or its driver said.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server answered with an error.
    #[error("{message} (SQLSTATE {code})")]
    Server {
        /// The SQLSTATE.
        code: String,
        /// The message, which names tables and constraints but no values.
        message: String,
        /// The constraint that refused, if one did.
        constraint: Option<String>,
    },
    /// The connection or the pool failed.
    #[error(transparent)]
    Driver(sqlx::Error),
}

impl Fault {
    /// Whether the same statement may succeed later without any change: the server was away,
    /// overloaded, starting or stopping, or chose this transaction to break a tie.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Driver(error) => is_driver_unavailable(error),
            Self::Server { code, .. } => {
                let class = code.get(..2).unwrap_or_default();
                matches!(class, "08" | "53" | "57" | "58")
                    || matches!(
                        code.as_str(),
                        "40001" | "40P01" | "55P03" | "25006" | "25P03"
                    )
            }
        }
    }

    /// Whether the statement may have been carried out: nothing said that it was not.
    fn is_uncertain(&self) -> bool {
        match self {
            // It was never sent.
            Self::Driver(
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Encode(_),
            ) => false,
            Self::Driver(_) => true,
            // The server ended the connection, before or after the commit.
            Self::Server { code, .. } => matches!(code.as_str(), "57P01" | "57P02"),
        }
    }

    /// Whether the row is to blame, not the server: its values or its key.
    pub(crate) fn is_about_the_row(&self) -> bool {
        match self {
            Self::Driver(_) => false,
            Self::Server { code, .. } => {
                matches!(code.get(..2).unwrap_or_default(), "22" | "23" | "54")
            }
        }
    }
}

// A wildcard, since sqlx's enum is open; what is not known is not promised to pass.
fn is_driver_unavailable(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
    )
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(refusal) => Self::Server {
                code: refusal.code().unwrap_or_default().into_owned(),
                message: refusal.message().to_owned(),
                constraint: refusal.constraint().map(ToOwned::to_owned),
            },
            None => Self::Driver(error),
        }
    }
}

/// Why a function on rows failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or overloaded. The same may succeed later.
    #[error("{operation}: the database cannot be reached or is overloaded; try again later")]
    Unavailable {
        /// What was attempted.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: Box<Fault>,
    },
    /// A row with this key exists already.
    #[error("{operation}: it exists already ({constraint}); choose another or read that one")]
    Conflict {
        /// What was attempted.
        operation: &'static str,
        /// The constraint that holds the key.
        constraint: String,
        /// What the database said.
        #[source]
        source: Box<Fault>,
    },
    /// The row, or a row that it names, does not exist for this tenant.
    #[error("{operation}: there is no such row; check the id")]
    NotFound {
        /// What was attempted.
        operation: &'static str,
    },
    /// The row is not in the version that the caller read.
    #[error("{operation}: it changed meanwhile; read it again")]
    Stale {
        /// What was attempted.
        operation: &'static str,
    },
    /// A value is outside what the schema allows.
    #[error("{operation}: the database refuses a value ({constraint}); correct it")]
    Invalid {
        /// What was attempted.
        operation: &'static str,
        /// The constraint that refused it, or the SQLSTATE.
        constraint: String,
        /// What the database said.
        #[source]
        source: Box<Fault>,
    },
    /// A stored value is none that this version writes.
    #[error("{operation}: column `{column}` holds a value of another version; migrate or upgrade")]
    Corrupt {
        /// What was attempted.
        operation: &'static str,
        /// The column that holds it.
        column: &'static str,
    },
    /// The database refused the statement itself: a right, a table or a column is missing.
    #[error("{operation}: the database refuses the statement; check roles and migrations")]
    Internal {
        /// What was attempted.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: Box<Fault>,
    },
}

impl StoreError {
    /// Whether the database may be well and every connection to it is taken.
    pub fn is_overload(&self) -> bool {
        matches!(self, Self::Unavailable { source, .. }
            if matches!(**source, Fault::Driver(sqlx::Error::PoolTimedOut)))
    }

    /// Whether a statement alone may have been carried out all the same: the server did not say that it
    /// refused it.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } | Self::Internal { source, .. } => {
                source.is_uncertain()
            }
            Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::Stale { .. }
            | Self::Invalid { .. }
            | Self::Corrupt { .. } => false,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::Stale { .. }
            | Self::Invalid { .. }
            | Self::Corrupt { .. }
            | Self::Internal { .. } => false,
        }
    }
}

/// Sorts a driver's error of `operation`.
pub(crate) fn sort(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        let kind = error
            .as_database_error()
            .map(sqlx::error::DatabaseError::kind);
        let source = Box::new(Fault::from(error));
        if source.is_unavailable() {
            return StoreError::Unavailable { operation, source };
        }
        let constraint = match source.as_ref() {
            Fault::Server {
                constraint: Some(name),
                ..
            } => name.clone(),
            Fault::Server { code, .. } => code.clone(),
            Fault::Driver(_) => String::new(),
        };
        match kind {
            Some(ErrorKind::UniqueViolation) => StoreError::Conflict {
                operation,
                constraint,
                source,
            },
            // The row that is named is not there, or is another tenant's.
            Some(ErrorKind::ForeignKeyViolation) => StoreError::NotFound { operation },
            Some(_) if source.is_about_the_row() => StoreError::Invalid {
                operation,
                constraint,
                source,
            },
            Some(_) | None => StoreError::Internal { operation, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str) -> Fault {
        Fault::Server {
            code: code.to_owned(),
            message: String::new(),
            constraint: None,
        }
    }

    #[test]
    fn a_server_that_stops_is_unavailable_and_no_row_is_blamed() {
        for code in ["57P01", "57P03", "08006", "53100", "40001", "57014"] {
            assert!(server(code).is_unavailable(), "{code}");
            assert!(!server(code).is_about_the_row(), "{code}");
        }
    }

    #[test]
    fn only_what_the_server_refused_or_never_got_is_certainly_not_done() {
        let unavailable = |fault| StoreError::Unavailable {
            operation: "test",
            source: Box::new(fault),
        };
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        for (fault, uncertain) in [
            (Fault::Driver(sqlx::Error::PoolTimedOut), false),
            (Fault::Driver(sqlx::Error::Io(broken())), true),
            (server("57014"), false),
            (server("57P01"), true),
        ] {
            let error = unavailable(fault);
            assert_eq!(error.is_uncertain(), uncertain, "{error:?}");
        }
    }

    #[test]
    fn a_missing_right_is_neither_retryable_nor_the_rows_fault() {
        for code in ["42501", "42P01", "XX000"] {
            assert!(!server(code).is_unavailable(), "{code}");
            assert!(!server(code).is_about_the_row(), "{code}");
        }
    }
}
