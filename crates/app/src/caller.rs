//! Who calls, and what they may do. A [`Caller`] only comes from a verified key.

use crate::error::AppError;
use purser_core::entry::{Actor, ActorKind};
use purser_core::{Key, TenantNo};

/// What a key may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Read everything the key's tenant (or, with a platform key, the platform) has.
    Read,
    /// Move credits and change the catalogue; includes reading.
    Write,
    /// Ask at the gate, and nothing else: what a proxy in front of a product needs.
    Gate,
}

impl Scope {
    /// The name on the wire and in the key's row.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Gate => "gate",
        }
    }

    /// The scope with this name.
    pub fn parse(name: &str) -> Option<Scope> {
        [Scope::Read, Scope::Write, Scope::Gate].into_iter().find(|scope| scope.name() == name)
    }
}

/// A verified API key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key's number: the actor of what it does.
    pub key_no: u64,
    /// Its scope.
    pub scope: Scope,
    /// The tenant whose key it is; none for a platform key.
    pub tenant: Option<(Key, TenantNo)>,
}

impl Caller {
    /// Refuses callers whose key lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), AppError> {
        if self.scope == Scope::Write || self.scope == scope {
            Ok(())
        } else {
            Err(AppError::Denied { scope: scope.name() })
        }
    }

    /// The actor that entries name.
    pub fn actor(&self) -> Actor {
        Actor { kind: ActorKind::ApiKey, no: self.key_no }
    }
}
