//! The MCP hosts whose configuration is known: where the file lies, and in which form it names a server.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::CstInputValue;
use serde_json::{Value, json};

/// An MCP host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Host {
    /// Claude Desktop
    Claude,
    /// Claude Code, for the project in this folder
    ClaudeCode,
    /// Visual Studio Code, for this user
    Vscode,
    /// Cursor
    Cursor,
    /// Windsurf
    Windsurf,
    /// Zed
    Zed,
    /// Gemini CLI
    Gemini,
    /// Any other host: print what most of them read
    Print,
}

/// Where a user's files lie.
#[derive(Debug)]
pub(super) struct Places {
    /// The home directory.
    pub(super) home: PathBuf,
    /// Where desktop programs keep their configuration.
    pub(super) config: PathBuf,
    /// The folder that the command was started in.
    pub(super) here: PathBuf,
}

impl Host {
    /// Its name for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Claude => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Vscode => "Visual Studio Code",
            Self::Cursor => "Cursor",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Gemini => "Gemini CLI",
            Self::Print => "the host",
        }
    }

    /// Its configuration file; `None` where there is nothing to write.
    pub(super) fn file(self, places: &Places) -> Option<PathBuf> {
        let Places { home, config, here } = places;
        Some(match self {
            Self::Claude => config.join("Claude/claude_desktop_config.json"),
            Self::ClaudeCode => here.join(".mcp.json"),
            Self::Vscode => config.join("Code/User/mcp.json"),
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::Windsurf => home.join(".codeium/windsurf/mcp_config.json"),
            Self::Zed => home.join(".config/zed/settings.json"),
            Self::Gemini => home.join(".gemini/settings.json"),
            Self::Print => return None,
        })
    }

    /// The member that holds the servers.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            Self::Zed => "context_servers",
            Self::Claude
            | Self::ClaudeCode
            | Self::Cursor
            | Self::Windsurf
            | Self::Gemini
            | Self::Print => "mcpServers",
        }
    }

    /// Whether it takes comments and trailing commas, as editors do.
    pub(super) const fn takes_comments(self) -> bool {
        matches!(self, Self::Vscode | Self::Zed)
    }

    /// What it reads beyond JSON.
    pub(super) const fn syntax(self) -> ParseOptions {
        let relaxed = self.takes_comments();
        ParseOptions {
            allow_comments: relaxed,
            allow_trailing_commas: relaxed,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        }
    }

    /// The server as the file names it.
    pub(super) fn server(self, program: &Path, connection: &Path) -> Server {
        Server {
            kind: match self {
                Self::Vscode | Self::ClaudeCode => Some(("type", "stdio")),
                Self::Zed => Some(("source", "custom")),
                Self::Claude | Self::Cursor | Self::Windsurf | Self::Gemini | Self::Print => None,
            },
            command: program.display().to_string(),
            arguments: ["stdio", "--connection"]
                .map(str::to_owned)
                .into_iter()
                .chain([connection.display().to_string()])
                .collect(),
        }
    }
}

/// One server of a host's configuration.
#[derive(Debug)]
pub(super) struct Server {
    kind: Option<(&'static str, &'static str)>,
    command: String,
    arguments: Vec<String>,
}

impl Server {
    /// As the file's editor takes it.
    pub(super) fn input(&self) -> CstInputValue {
        let text = |text: &str| CstInputValue::String(text.to_owned());
        let arguments = self.arguments.iter().map(|argument| text(argument));
        let kind = self.kind.map(|(name, value)| (name, text(value)));
        let members = kind.into_iter().chain([
            ("command", text(&self.command)),
            ("args", CstInputValue::Array(arguments.collect())),
        ]);
        CstInputValue::Object(
            members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let mut server = json!({"command": self.command, "args": self.arguments});
        if let (Some((name, value)), Some(members)) = (self.kind, server.as_object_mut()) {
            members.insert(name.to_owned(), Value::from(value));
        }
        server
    }
}
