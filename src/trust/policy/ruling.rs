//! What all policy files together say of one image name.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{ImagePattern, Mode, Outside, Pin, Pinned, Policy, PolicyError, PolicyFile, Scope, TagPattern};
use crate::image::{ImageName, Tag};

/// A scope that counts for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governing {
    /// The file.
    pub file: String,
    /// The line where the scope begins.
    pub line: usize,
    /// The pattern that matched.
    pub pattern: String,
    /// The scope's own mode.
    pub mode: Mode,
}

/// What the policy asks of the images of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The scopes that count, one for each file that has one; empty for a name outside every scope.
    pub scopes: Vec<Governing>,
    /// How strictly.
    pub mode: Mode,
    /// The roots; every one must be met. Empty only where the mode is [`Mode::Off`]: nothing can be verified then.
    pub pins: Vec<Pin>,
    /// The roles whose word counts; none where everybody's does.
    pub signers: Option<BTreeSet<String>>,
    /// Lists of tag patterns; a tag must be in each.
    pub tags: Vec<Vec<TagPattern>>,
    /// What a digest beside a tag must be.
    pub pinned: Pinned,
    /// How long a former digest of a tag still passes; none where that has no end.
    pub superseded_for: Option<SignedDuration>,
    /// How far ahead a timestamp may expire; none where no scope says it.
    pub max_timestamp_life: Option<SignedDuration>,
    /// Whether a machine that remembers nothing is refused.
    pub require_memory: bool,
    /// The repository of the head, where it is not the image's own.
    pub trust_repository: Option<ImageName>,
}

impl Ruling {
    /// Whether the scopes trust the tag, whoever signed it.
    pub fn allows_tag(&self, tag: &Tag) -> bool {
        self.tags.iter().all(|list| list.iter().any(|pattern| pattern.matches(tag)))
    }

    /// Whether a role's word counts.
    pub fn allows_signer(&self, role: &str) -> bool {
        self.signers.as_ref().is_none_or(|signers| signers.contains(role))
    }
}

/// What flags and variables ask for in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Another mode, such as `off` by `DOCKER_CONTENT_TRUST=0`.
    pub mode: Option<Mode>,
    /// One more root, by `--root-key`. It counts as a file with a scope for the name: it adds to the pins of others,
    /// and lets a name outside every scope be verified.
    pub pin: Option<Pin>,
    /// Another rule for digests beside a tag.
    pub pinned: Option<Pinned>,
    /// The run remembers nothing.
    pub stateless: bool,
}

/// One file's say: the file, its scope and the pattern that matched.
type Say<'a> = (&'a PolicyFile, &'a Scope, &'a ImagePattern);

impl Policy {
    /// What the files say of a name.
    ///
    /// # Errors
    /// Every [`PolicyError`] but [`PolicyError::Loosens`] and [`PolicyError::Mirror`].
    pub fn rule(&self, name: &ImageName) -> Result<Ruling, PolicyError> {
        self.rule_with(name, &Overrides::default())
    }

    /// What the files say of a name, with what flags and variables ask for.
    ///
    /// # Errors
    /// As for [`Policy::rule`], and [`PolicyError::Loosens`].
    pub fn rule_with(&self, name: &ImageName, overrides: &Overrides) -> Result<Ruling, PolicyError> {
        let mut says: Vec<Say<'_>> = Vec::new();
        for file in &self.files {
            says.extend(file.governing(name)?.map(|(scope, pattern)| (file, scope, pattern)));
        }
        let mut ruling = if says.is_empty() { self.outside(name, overrides)? } else { combine(&says) };
        ruling.pins.extend(overrides.pin.clone());
        apply_overrides(&mut ruling, &says, overrides)?;
        if ruling.mode == Mode::Off {
            return Ok(ruling);
        }
        if ruling.pins.is_empty() {
            return Err(PolicyError::NoRoot { name: name.to_string(), scopes: listed(&says) });
        }
        if ruling.signers.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(PolicyError::NoSigner { name: name.to_string(), scopes: listed(&says) });
        }
        Ok(ruling)
    }

    fn outside(&self, name: &ImageName, overrides: &Overrides) -> Result<Ruling, PolicyError> {
        let ruling = |mode| Ruling {
            scopes: Vec::new(),
            mode,
            pins: Vec::new(),
            signers: None,
            tags: Vec::new(),
            pinned: Pinned::Signed,
            superseded_for: None,
            max_timestamp_life: None,
            require_memory: false,
            trust_repository: None,
        };
        let loosened = overrides.mode.is_some_and(|mode| mode < Mode::Enforce);
        if overrides.pin.is_some() && !loosened {
            return Ok(ruling(Mode::Enforce));
        }
        if self.files.is_empty() {
            return Err(PolicyError::NoPolicy { name: name.to_string() });
        }
        match self.files.iter().find(|file| file.outside == Outside::Deny) {
            Some(file) => Err(PolicyError::OutOfScope { name: name.to_string(), file: file.path.clone() }),
            None => Ok(ruling(Mode::Off)),
        }
    }
}

fn combine(says: &[Say<'_>]) -> Ruling {
    let scopes = || says.iter().map(|(_, scope, _)| *scope);
    let governing = says.iter().map(|(file, scope, pattern)| Governing {
        file: file.path.clone(),
        line: scope.line,
        pattern: pattern.to_string(),
        mode: scope.mode,
    });
    let both = |one: BTreeSet<String>, other: BTreeSet<String>| one.intersection(&other).cloned().collect();
    Ruling {
        scopes: governing.collect(),
        mode: scopes().map(|scope| scope.mode).max().unwrap_or(Mode::Enforce),
        pins: scopes().filter_map(|scope| scope.root.clone()).collect(),
        signers: scopes().filter_map(|scope| scope.signers.clone()).reduce(both),
        tags: scopes().filter_map(|scope| scope.tags.clone()).collect(),
        pinned: scopes().filter_map(|scope| scope.pinned).max().unwrap_or(Pinned::Signed),
        superseded_for: scopes().filter_map(|scope| scope.superseded_for).min(),
        max_timestamp_life: scopes().filter_map(|scope| scope.max_timestamp_life).min(),
        require_memory: scopes().any(|scope| scope.require_memory),
        // A place, not a matter of trust: the last file wins.
        trust_repository: scopes().filter_map(|scope| scope.trust_repository.clone()).next_back(),
    }
}

fn apply_overrides(ruling: &mut Ruling, says: &[Say<'_>], overrides: &Overrides) -> Result<(), PolicyError> {
    // What an enforced name is asked may be loosened only where every scope that asks it allows that.
    let enforced = ruling.mode == Mode::Enforce;
    let loosen = |what: &str, asks: &dyn Fn(&Scope) -> bool| {
        let refusing = says.iter().find(|(_, scope, _)| enforced && asks(scope) && !scope.allow_override);
        refusing.map_or(Ok(()), |(file, scope, _)| {
            Err(PolicyError::Loosens { what: what.to_owned(), file: file.path.clone(), line: scope.line })
        })
    };
    if let Some(pinned) = overrides.pinned {
        if pinned < ruling.pinned {
            loosen("`pinned = \"signed\"`", &|scope| scope.pinned > Some(pinned))?;
        }
        ruling.pinned = pinned;
    }
    if overrides.stateless && ruling.require_memory {
        loosen("running without memory", &|scope| scope.require_memory)?;
        ruling.require_memory = false;
    }
    if let Some(mode) = overrides.mode {
        let what = if mode == Mode::Off { "mode `off`" } else { "mode `audit`" };
        loosen(what, &|scope| scope.mode == Mode::Enforce && mode < Mode::Enforce)?;
        ruling.mode = mode;
    }
    Ok(())
}

fn listed(says: &[Say<'_>]) -> String {
    if says.is_empty() {
        return "no file".to_owned();
    }
    let lines = says.iter().map(|(file, scope, _)| format!("`{}` line {}", file.path, scope.line));
    lines.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::policy::{RootFile, RootKeys};
    use crate::trust::{KeyId, Version};

    const APP: &str = "r.example/acme/app";

    fn app() -> ImageName {
        APP.parse().unwrap()
    }

    fn pin(letter: char) -> Pin {
        let key = KeyId::new(&letter.to_string().repeat(64)).unwrap();
        Pin::Keys(RootKeys::new([key].into(), 1, Version::ONE).unwrap())
    }

    fn scope(images: &str) -> Scope {
        Scope {
            line: 1,
            images: vec![images.parse().unwrap()],
            mode: Mode::Enforce,
            root: Some(pin('a')),
            signers: None,
            tags: None,
            pinned: None,
            superseded_for: None,
            max_timestamp_life: None,
            require_memory: false,
            allow_override: false,
            trust_repository: None,
        }
    }

    fn file(path: &str, scopes: Vec<Scope>) -> PolicyFile {
        PolicyFile { path: path.to_owned(), outside: Outside::Deny, scopes, mirrors: Vec::new() }
    }

    fn policy(files: Vec<Vec<Scope>>) -> Policy {
        Policy { files: files.into_iter().enumerate().map(|(at, scopes)| file(&format!("f{at}"), scopes)).collect() }
    }

    /// The ruling of two files whose scopes for the app are changed.
    fn both(one: impl FnOnce(&mut Scope), other: impl FnOnce(&mut Scope)) -> Result<Ruling, PolicyError> {
        let (mut first, mut second) = (scope(APP), scope("r.example/**"));
        one(&mut first);
        other(&mut second);
        policy(vec![vec![first], vec![second]]).rule(&app())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn tags(texts: &[&str]) -> Vec<TagPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn no_policy_denies() {
        assert!(matches!(Policy::default().rule(&app()), Err(PolicyError::NoPolicy { .. })));
        assert!(policy(vec![vec![scope(APP)]]).rule(&app()).is_ok());
    }

    #[test]
    fn a_name_outside_every_scope_is_denied_unless_all_files_allow() {
        let mut policy = policy(vec![vec![], vec![scope("r.example/other")]]);
        policy.files[0].outside = Outside::Allow;
        let refusal = PolicyError::OutOfScope { name: APP.to_owned(), file: "f1".to_owned() };
        assert_eq!(policy.rule(&app()), Err(refusal));
        policy.files[1].outside = Outside::Allow;
        let ruling = policy.rule(&app()).unwrap();
        assert_eq!((ruling.mode, ruling.scopes.len(), ruling.pins.len()), (Mode::Off, 0, 0));
    }

    #[test]
    fn the_default_does_not_touch_a_name_in_scope() {
        let policy = policy(vec![vec![], vec![scope(APP)]]);
        assert_eq!(policy.rule(&app()).unwrap().mode, Mode::Enforce);
    }

    #[test]
    fn the_most_specific_scope_of_a_file_counts_alone() {
        let mut wide = scope("r.example/**");
        wide.root = Some(pin('b'));
        wide.signers = Some(set(&["wide"]));
        let mut narrow = scope("r.example/acme/*");
        narrow.mode = Mode::Audit;
        narrow.line = 9;
        let policy = policy(vec![vec![wide, narrow]]);
        let ruling = policy.rule(&app()).unwrap();
        assert_eq!((ruling.mode, ruling.pins, ruling.signers), (Mode::Audit, vec![pin('a')], None));
        let governing = &ruling.scopes[0];
        assert_eq!((governing.line, governing.pattern.as_str()), (9, "r.example/acme/*"));
        assert_eq!(policy.rule(&"r.example/x".parse().unwrap()).unwrap().pins, [pin('b')]);
    }

    #[test]
    fn a_tie_within_a_file_is_an_error_and_across_files_is_none() {
        let twins = || (scope("r.example/acme/*"), scope("r.example/acme/**"));
        let (one, other) = twins();
        let error = policy(vec![vec![one, other]]).rule(&app()).unwrap_err();
        assert!(matches!(&error, PolicyError::Tie { first, .. } if first.0 == "r.example/acme/*"), "{error}");
        let (one, other) = twins();
        assert!(policy(vec![vec![one], vec![other]]).rule(&app()).is_ok());
        let mut twice = scope("r.example/acme/*");
        twice.images.push("r.example/acme/**".parse().unwrap());
        assert!(policy(vec![vec![twice]]).rule(&app()).is_ok(), "one scope does not tie with itself");
        // A tie that a more specific scope decides is none.
        let (one, other) = twins();
        assert!(policy(vec![vec![one, other, scope(APP)]]).rule(&app()).is_ok());
    }

    #[test]
    fn the_stricter_mode_wins() {
        for (one, other, wins) in [
            (Mode::Off, Mode::Audit, Mode::Audit),
            (Mode::Enforce, Mode::Audit, Mode::Enforce),
            (Mode::Off, Mode::Enforce, Mode::Enforce),
            (Mode::Off, Mode::Off, Mode::Off),
        ] {
            assert_eq!(both(|scope| scope.mode = one, |scope| scope.mode = other).unwrap().mode, wins);
        }
    }

    #[test]
    fn every_named_root_must_be_met() {
        let pins = |ruling: Result<Ruling, PolicyError>| ruling.unwrap().pins;
        assert_eq!(pins(both(|_| (), |scope| scope.root = Some(pin('b')))), [pin('a'), pin('b')]);
        assert_eq!(pins(both(|_| (), |scope| scope.root = None)), [pin('a')]);
    }

    #[test]
    fn a_scope_that_verifies_needs_a_root() {
        let no_root = |mode| {
            both(|scope| (scope.root, scope.mode) = (None, mode), |scope| (scope.root, scope.mode) = (None, mode))
        };
        assert!(matches!(no_root(Mode::Enforce), Err(PolicyError::NoRoot { .. })));
        assert!(matches!(no_root(Mode::Audit), Err(PolicyError::NoRoot { .. })));
        assert_eq!(no_root(Mode::Off).unwrap().pins, []);
    }

    #[test]
    fn signers_intersect() {
        let ruling =
            both(|scope| scope.signers = Some(set(&["a", "b"])), |scope| scope.signers = Some(set(&["b", "c"])))
                .unwrap();
        assert!(ruling.allows_signer("b") && !ruling.allows_signer("a") && !ruling.allows_signer("c"));
        let ruling = both(|scope| scope.signers = Some(set(&["a"])), |_| ()).unwrap();
        assert!(ruling.allows_signer("a") && !ruling.allows_signer("targets"));
        assert!(both(|_| (), |_| ()).unwrap().allows_signer("anyone"));
        let nobody = both(|scope| scope.signers = Some(set(&["a"])), |scope| scope.signers = Some(set(&["b"])));
        assert!(matches!(nobody, Err(PolicyError::NoSigner { .. })));
    }

    #[test]
    fn a_tag_must_be_in_the_list_of_each_file() {
        let ruling =
            both(|scope| scope.tags = Some(tags(&["release-*", "x"])), |scope| scope.tags = Some(tags(&["*-1"])))
                .unwrap();
        let allows = |tag: &str| ruling.allows_tag(&tag.parse().unwrap());
        assert!(allows("release-1"));
        assert!(!allows("release-2") && !allows("beta-1") && !allows("x"));
        assert!(both(|_| (), |_| ()).unwrap().allows_tag(&"anything".parse().unwrap()));
    }

    #[test]
    fn current_beats_signed() {
        let pinned = |one, other| both(|scope| scope.pinned = one, |scope| scope.pinned = other).unwrap().pinned;
        assert_eq!(pinned(None, None), Pinned::Signed);
        assert_eq!(pinned(Some(Pinned::Signed), Some(Pinned::Current)), Pinned::Current);
        assert_eq!(pinned(Some(Pinned::Current), None), Pinned::Current);
        assert_eq!(pinned(Some(Pinned::Signed), None), Pinned::Signed);
    }

    #[test]
    fn the_smaller_span_counts() {
        let hours = |hours| Some(SignedDuration::from_hours(hours));
        let ruling = both(
            |scope| (scope.superseded_for, scope.max_timestamp_life) = (hours(5), hours(9)),
            |scope| (scope.superseded_for, scope.max_timestamp_life) = (hours(7), hours(8)),
        )
        .unwrap();
        assert_eq!((ruling.superseded_for, ruling.max_timestamp_life), (hours(5), hours(8)));
        let ruling = both(|scope| scope.superseded_for = hours(5), |_| ()).unwrap();
        assert_eq!((ruling.superseded_for, ruling.max_timestamp_life), (hours(5), None));
    }

    #[test]
    fn memory_is_required_where_one_file_requires_it() {
        assert!(both(|scope| scope.require_memory = true, |_| ()).unwrap().require_memory);
        assert!(!both(|_| (), |_| ()).unwrap().require_memory);
    }

    #[test]
    fn the_last_file_says_where_the_head_lies() {
        let elsewhere: ImageName = "r.example/trust".parse().unwrap();
        let ruling = both(|scope| scope.trust_repository = Some(elsewhere.clone()), |_| ()).unwrap();
        assert_eq!(ruling.trust_repository, Some(elsewhere.clone()));
        let ruling = both(
            |scope| scope.trust_repository = Some(app()),
            |scope| scope.trust_repository = Some(elsewhere.clone()),
        );
        assert_eq!(ruling.unwrap().trust_repository, Some(elsewhere));
    }

    fn overridden(change: impl FnOnce(&mut Scope), overrides: &Overrides) -> Result<Ruling, PolicyError> {
        let mut scope = scope(APP);
        change(&mut scope);
        policy(vec![vec![scope]]).rule_with(&app(), overrides)
    }

    #[test]
    fn loosening_an_enforced_scope_needs_its_leave() {
        for mode in [Mode::Off, Mode::Audit] {
            let off = Overrides { mode: Some(mode), ..Overrides::default() };
            assert!(matches!(overridden(|_| (), &off), Err(PolicyError::Loosens { .. })));
            assert_eq!(overridden(|scope| scope.allow_override = true, &off).unwrap().mode, mode);
            assert_eq!(overridden(|scope| scope.mode = Mode::Audit, &off).unwrap().mode, mode);
        }
        let signed = Overrides { pinned: Some(Pinned::Signed), ..Overrides::default() };
        let current = |scope: &mut Scope| scope.pinned = Some(Pinned::Current);
        assert!(matches!(overridden(current, &signed), Err(PolicyError::Loosens { .. })));
        assert_eq!(overridden(|_| (), &signed).unwrap().pinned, Pinned::Signed);
        let stateless = Overrides { stateless: true, ..Overrides::default() };
        assert!(matches!(
            overridden(|scope| scope.require_memory = true, &stateless),
            Err(PolicyError::Loosens { .. })
        ));
        let allowed = overridden(|scope| (scope.require_memory, scope.allow_override) = (true, true), &stateless);
        assert!(!allowed.unwrap().require_memory);
        assert!(overridden(|_| (), &stateless).is_ok());
    }

    #[test]
    fn leave_is_needed_from_every_file_that_set_it() {
        let off = Overrides { mode: Some(Mode::Off), ..Overrides::default() };
        let rule = |one_allows, other_allows, other_mode| {
            let (mut one, mut other) = (scope(APP), scope(APP));
            one.allow_override = one_allows;
            (other.allow_override, other.mode) = (other_allows, other_mode);
            policy(vec![vec![one], vec![other]]).rule_with(&app(), &off)
        };
        let refusal = rule(true, false, Mode::Enforce).unwrap_err();
        assert!(matches!(&refusal, PolicyError::Loosens { file, .. } if file == "f1"), "{refusal}");
        assert!(rule(true, true, Mode::Enforce).is_ok());
        assert!(rule(true, false, Mode::Audit).is_ok());
        assert!(rule(false, true, Mode::Audit).is_err());
    }

    #[test]
    fn tightening_needs_no_leave() {
        let strict = Overrides { mode: Some(Mode::Enforce), pinned: Some(Pinned::Current), ..Overrides::default() };
        let ruling = overridden(|scope| scope.mode = Mode::Audit, &strict).unwrap();
        assert_eq!((ruling.mode, ruling.pinned), (Mode::Enforce, Pinned::Current));
    }

    #[test]
    fn a_root_key_of_the_command_line_adds_to_the_policy() {
        let given = Overrides { pin: Some(pin('c')), ..Overrides::default() };
        assert_eq!(overridden(|_| (), &given).unwrap().pins, [pin('a'), pin('c')]);
        assert_eq!(overridden(|scope| scope.root = None, &given).unwrap().pins, [pin('c')]);
        let ruling = Policy::default().rule_with(&app(), &given).unwrap();
        assert_eq!((ruling.mode, ruling.pins), (Mode::Enforce, vec![pin('c')]));
    }

    #[test]
    fn switching_off_does_not_open_what_the_default_denies() {
        let off = Overrides { mode: Some(Mode::Off), ..Overrides::default() };
        assert!(matches!(Policy::default().rule_with(&app(), &off), Err(PolicyError::NoPolicy { .. })));
        let other = policy(vec![vec![scope("r.example/other")]]);
        assert!(matches!(other.rule_with(&app(), &off), Err(PolicyError::OutOfScope { .. })));
        // Nor does a root of the command line, which makes a scope of its own that gives no leave.
        let both = Overrides { pin: Some(pin('c')), ..off };
        assert!(Policy::default().rule_with(&app(), &both).is_err());
    }

    #[test]
    fn pinned_keys_must_be_able_to_meet_their_threshold() {
        let keys = |letters: &str| letters.chars().map(|l| KeyId::new(&l.to_string().repeat(64)).unwrap()).collect();
        assert!(RootKeys::new(keys("ab"), 2, Version::ONE).is_ok());
        assert!(RootKeys::new(keys("ab"), 3, Version::ONE).is_err());
        assert!(RootKeys::new(keys("aa"), 2, Version::ONE).is_err(), "one key counts once");
        assert!(RootKeys::new(keys("ab"), 0, Version::ONE).is_err());
        assert!(RootKeys::new(keys(""), 0, Version::ONE).is_err());
        assert!(RootKeys::new(keys("X"), 1, Version::ONE).is_err());
        assert!(RootKeys::new([KeyId::new("abc").unwrap()].into(), 1, Version::ONE).is_err());
    }

    #[test]
    fn a_root_file_is_a_pin_too() {
        let pin = Pin::File(RootFile { path: "root.json".to_owned(), bytes: b"{}".to_vec() });
        assert_eq!(overridden(|scope| scope.root = Some(pin.clone()), &Overrides::default()).unwrap().pins, [pin]);
    }
}
