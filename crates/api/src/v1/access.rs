//! Who may do what: the actions of the management API and the roles that may take each.
//!
//! `docs/management-api.md` shows this as a table, and the tests try every cell of it. Whatever a
//! role is not named for is refused.

use portcullis_wire::api::Role;

/// A marker type of one action, for [`super::caller::Permit`].
pub trait Act: Send + Sync + 'static {
    /// The action.
    const ACTION: Action;
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal: $($role:ident)+;)*) => {
        /// Something that a caller can ask of the management API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used in documentation, logs and refusals.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The roles that may take it.
            pub const fn roles(self) -> &'static [Role] {
                match self { $(Self::$name => &[$(Role::$role,)+],)* }
            }
        }

        /// The marker types of the actions.
        pub mod act {
            use super::{Act, Action};

            $($(#[doc = $doc])+
            #[derive(Debug)]
            pub enum $name {}

            impl Act for $name {
                const ACTION: Action = Action::$name;
            })*
        }
    };
}

actions! {
    /// See tenants: all for `platform`, one's own for everyone else.
    TenantRead = "tenant.read": Owner Operator Approver Auditor Viewer Platform;
    /// Create a tenant.
    TenantCreate = "tenant.create": Platform;
    /// Rename a tenant or choose its replay mode.
    TenantUpdate = "tenant.update": Owner;
    /// See principals.
    PrincipalRead = "principal.read": Owner Operator Approver Auditor Viewer;
    /// Create a principal.
    PrincipalCreate = "principal.create": Owner Operator;
    /// Suspend or activate a principal.
    PrincipalUpdate = "principal.update": Owner Operator;
    /// See which client secrets a principal has. Nobody sees the secrets.
    SecretRead = "secret.read": Owner Operator Auditor;
    /// Create a client secret.
    SecretCreate = "secret.create": Owner Operator;
    /// Put a new client secret in the place of all others.
    SecretRotate = "secret.rotate": Owner Operator;
    /// Revoke a client secret.
    SecretRevoke = "secret.revoke": Owner Operator;
    /// See which public keys a client has.
    KeyRead = "key.read": Owner Operator Auditor;
    /// Register a client's public key.
    KeyCreate = "key.create": Owner Operator;
    /// Revoke a client's public key.
    KeyRevoke = "key.revoke": Owner Operator;
    /// See grants.
    GrantRead = "grant.read": Owner Operator Approver Auditor Viewer;
    /// Grant a scope.
    GrantCreate = "grant.create": Owner Operator;
    /// Revoke a grant.
    GrantRevoke = "grant.revoke": Owner Operator;
    /// See limits.
    LimitsRead = "limits.read": Owner Operator Approver Auditor Viewer;
    /// Set limits.
    LimitsUpdate = "limits.update": Owner Operator;
    /// See tools and their definitions.
    ToolRead = "tool.read": Owner Operator Approver Auditor Viewer;
    /// Register a tool of another system.
    ToolCreate = "tool.create": Owner Operator;
    /// Give a tool another version, enable or disable it.
    ToolUpdate = "tool.update": Owner Operator;
    /// See change tickets.
    TicketRead = "ticket.read": Owner Operator Approver Auditor Viewer;
    /// Open a change ticket.
    TicketOpen = "ticket.open": Owner Operator;
    /// Close a change ticket.
    TicketClose = "ticket.close": Owner Operator;
    /// See claims of idempotency keys.
    ClaimRead = "claim.read": Owner Operator Approver Auditor Viewer;
    /// Say how a call of unknown outcome ended.
    ClaimResolve = "claim.resolve": Owner Operator;
    /// See the hosts that tools may call.
    EgressRead = "egress.read": Owner Operator Approver Auditor Viewer;
    /// Set the hosts that tools may call.
    EgressUpdate = "egress.update": Owner;
    /// See policy versions.
    PolicyRead = "policy.read": Owner Operator Approver Auditor Viewer;
    /// Write a draft of a policy.
    PolicyDraft = "policy.draft": Owner Operator;
    /// Publish a policy version.
    PolicyPublish = "policy.publish": Owner;
    /// See signed records. They hold no payloads.
    RecordRead = "record.read": Owner Operator Approver Auditor Viewer;
    /// See the signed records of the platform's own changes.
    PlatformRecordRead = "platform_record.read": Platform;
    /// See a tenant's kill switches and the platform's that concern it.
    SwitchRead = "switch.read": Owner Operator Approver Auditor Viewer;
    /// Drop a kill switch in one tenant.
    SwitchDrop = "switch.drop": Owner Operator;
    /// Lift a kill switch of one tenant.
    SwitchLift = "switch.lift": Owner Operator;
    /// Measure how fast a kill switch would fall; nothing is stopped.
    SwitchDrill = "switch.drill": Owner Operator Platform;
    /// See the kill switches that the platform dropped.
    PlatformSwitchRead = "platform_switch.read": Platform;
    /// Drop a kill switch of the platform.
    PlatformSwitchDrop = "platform_switch.drop": Platform;
    /// Lift a kill switch of the platform.
    PlatformSwitchLift = "platform_switch.lift": Platform;
    /// See which replicas run.
    ReplicaRead = "replica.read": Platform;
    /// See service tokens. Nobody sees the tokens themselves.
    ServiceTokenRead = "service_token.read": Owner Auditor Platform;
    /// Create a service token: `owner` any role of the tenant, `platform` the roles `platform` and
    /// `owner`.
    ServiceTokenCreate = "service_token.create": Owner Platform;
    /// Revoke a service token.
    ServiceTokenRevoke = "service_token.revoke": Owner Platform;
}

impl Action {
    /// What it is about: the part before the dot.
    pub fn noun(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// Whether a role may take it.
    pub fn is_open_to(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}

/// Whether the holder of `own` may create a service token of the role `wanted`: nobody gives away
/// more than he holds, except that the platform gives a tenant its first owner.
pub const fn may_confer(own: Role, wanted: Role) -> bool {
    match own {
        Role::Owner => wanted.is_of_a_tenant(),
        Role::Platform => matches!(wanted, Role::Platform | Role::Owner),
        Role::Operator | Role::Approver | Role::Auditor | Role::Viewer => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_confers_a_role_of_another_plane_but_the_platform_its_owners() {
        assert!(may_confer(Role::Owner, Role::Auditor));
        assert!(may_confer(Role::Platform, Role::Owner));
        assert!(!may_confer(Role::Owner, Role::Platform));
        for wanted in [Role::Operator, Role::Approver, Role::Auditor, Role::Viewer] {
            assert!(!may_confer(Role::Platform, wanted), "{wanted}");
        }
    }

    #[test]
    fn an_owner_confers_no_role_that_may_do_what_he_may_not() {
        for action in Action::ALL {
            for wanted in Role::ALL {
                let more = action.is_open_to(wanted) && !action.is_open_to(Role::Owner);
                assert!(!more || !may_confer(Role::Owner, wanted), "{wanted}");
            }
        }
    }

    #[test]
    fn roles_that_do_not_administer_tokens_confer_nothing() {
        for own in Role::ALL {
            let administers = Action::ServiceTokenCreate.is_open_to(own);
            for wanted in Role::ALL {
                assert!(administers || !may_confer(own, wanted), "{own} {wanted}");
            }
        }
    }

    #[test]
    fn viewers_approvers_and_auditors_change_nothing() {
        for action in Action::ALL {
            if action.as_str().strip_suffix(".read").is_none() {
                for role in [Role::Viewer, Role::Approver, Role::Auditor] {
                    assert!(!action.is_open_to(role), "{role} {}", action.as_str());
                }
            }
        }
    }
}
