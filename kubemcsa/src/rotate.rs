//! `kubemcsa rotate`: another credential for a link, and the end of every one that it had.
//!
//! A link's tokens are bound to a Secret of the source, and die with it. So that no import fails in
//! between: first a token that is bound to another Secret, an interim one; once the importer has it,
//! the old Secret goes and comes back as another, and so does a token that is bound to it. Interrupted
//! anywhere, the link works, and this or bootstrap finishes.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use mcsa_client::api::ServiceAccountImport;
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_client::credential::Endpoint;
use mcsa_client::link::Link;
use mcsa_client::secret::{self, Provenance};
use tokio::time::{Instant, sleep};

use crate::apply::Outcome;
use crate::cluster::Cluster;
use crate::link::check::{self, Checked};
use crate::link::connect::{self, Connected};
use crate::link::flags::{Flags, LinkFlags};
use crate::link::grants::{self, Grants};
use crate::link::mint::Kind;
use crate::link::revoked::Seen;
use crate::link::source::Granted;
use crate::link::target::Declared;
use crate::link::voice::Voice;
use crate::link::{claim, interim, mint, publish, refuse, revoked, source, target};
use crate::times::to_the_second;
use crate::{apply, lease, object, output, remove};

/// An importer at work takes another token within a moment.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// How often somebody else (an importer at work) may be faster in writing the link's Secret.
const TRIES: usize = 5;

/// Which link.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkFlags,
}

/// A link as it stands, about to get another credential.
struct Standing {
    declared: Declared,
    endpoint: Endpoint,
    granted: Granted,
    old: Link,
}

/// Rotates.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.of("rotate");
    let plan = refuse::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let connected = connect::connect(plan, Voice::Lines).await?;
    claim::claim(&connected).await?;
    let mut standing = look(&connected).await?;
    ensure_replaceable(&connected, &standing).await?;

    let interim = interim::create(&connected).await?;
    let half = SignedDuration::from_secs(standing.declared.import.spec.expiration_seconds / 2);
    // An importer takes over what is to be refreshed at once, and binds it to what is about to go.
    let refresh_at = Timestamp::now() + half;
    replace(&connected, &standing, Kind { bound_to: &interim, refresh_at: Some(refresh_at) }).await?;
    let is_interim = |told: Timestamp| told.as_second() == refresh_at.as_second();
    let has_importer = until_told(&connected, &standing, is_interim).await?;

    standing.granted.bound_secret_uid = renew_bound_secret(&connected).await?;
    let usual = Kind { bound_to: &connected.target.name, refresh_at: None };
    let checked = replace(&connected, &standing, usual).await?;
    if has_importer {
        until_told(&connected, &standing, |told| !is_interim(told)).await?;
    }
    interim::clear(&connected).await?;
    report(&connected, standing, &checked).await
}

async fn look(connected: &Connected) -> anyhow::Result<Standing> {
    let (source, target) = (&connected.source, &connected.target);
    let again = connected.plan.flags.of("bootstrap", "");
    let missing = |what: &str| {
        anyhow::anyhow!(
            "{}: {what}, so there is no link to {} to rotate; run: {again}",
            target.name,
            source.name
        )
    };
    let import = object::dynamic(&target::import(connected, target::LONGEST))?;
    let Some(import) = apply::read(target, &import).await? else {
        bail!(missing(&format!("there is no {}", object::title(&import))));
    };
    let import: ServiceAccountImport = import.try_parse().context("the link's import can't be read")?;
    let name = import.secret_name();
    let Some(secret) = read(connected, &name).await? else {
        bail!(missing(&format!("there is no secret {SYSTEM_NAMESPACE}/{name}")));
    };
    let old = Link::read(&secret)
        .map_err(|error| anyhow::anyhow!("{}: {error}; to make another: {again}", target.name))?;
    let endpoint = old.endpoint.clone();
    let written = Provenance::read(secret.annotations()).map(|provenance| provenance.fingerprint);
    if written != Some(secret::fingerprint(&import.spec, import.is_link(), &endpoint)) {
        bail!(
            "{}: secret {SYSTEM_NAMESPACE}/{name} leads to {}, and neither bootstrap nor the importer has written that \
             there; no token is sent to it. To say where {} is: {again}",
            target.name,
            endpoint.server,
            source.name
        );
    }
    let account = apply::read(source, &source::service_account(connected)?).await?;
    let Some(account) = account.filter(|account| account.annotations().contains_key(TARGET_UID)) else {
        bail!("{}: it does not know {} any more; to link them again: {again}", source.name, target.name);
    };
    let stored = grants::stored(source, &target.name).await?;
    let grants = stored.grants.unwrap_or(Grants::Only(Default::default()));
    let policy = source::share(source, &connected.voice, &grants).await?;
    let granted = Granted {
        service_account_uid: account.uid().unwrap_or_default(),
        // No token is bound to what is there now.
        bound_secret_uid: String::new(),
        policy,
        grants,
    };
    Ok(Standing { declared: Declared { import }, endpoint, granted, old })
}

/// Refuses whoever may not write the link's Secret, before anything is made in the source; by the API
/// server's own dry run.
async fn ensure_replaceable(connected: &Connected, standing: &Standing) -> anyhow::Result<()> {
    let target = &connected.target;
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let name = standing.declared.import.secret_name();
    let params = PatchParams { dry_run: true, ..Default::default() };
    let unchanged = Patch::Merge(serde_json::json!({}));
    let call = secrets.patch(&name, &params, &unchanged);
    target.call(&format!("update secret {SYSTEM_NAMESPACE}/{name}"), call).await?;
    Ok(())
}

/// Puts another token in the place of the one that there is.
async fn replace(connected: &Connected, standing: &Standing, kind: Kind<'_>) -> anyhow::Result<Checked> {
    let Standing { declared, endpoint, granted, .. } = standing;
    let minted = mint::mint_as(kind, connected, endpoint, granted, declared).await?;
    let checked = check::check(connected, granted, &minted.secret).await?;
    let mut tries = TRIES;
    loop {
        let worn = read(connected, &declared.import.secret_name()).await?;
        match publish::publish(connected, &minted, &checked, worn.as_ref()).await {
            Ok(()) => return Ok(checked),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn read(connected: &Connected, name: &str) -> anyhow::Result<Option<Secret>> {
    let secrets: Api<Secret> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read secret {SYSTEM_NAMESPACE}/{name}");
    Ok(connected.target.call(&doing, secrets.get_opt(name)).await?)
}

/// The UID of the Secret that takes the old one's place. With that one, all tokens end that were bound to it.
async fn renew_bound_secret(connected: &Connected) -> anyhow::Result<String> {
    let source = &connected.source;
    let secret = source::bound_secret(connected)?;
    let title = object::title(&secret);
    if let Some(old) = apply::read(source, &secret).await? {
        remove::remove(source, &old).await?;
        connected.voice.outcome(&source.name, &title, Outcome::Removed);
    }
    let applied = apply::apply(source, &secret).await?;
    connected.voice.outcome(&source.name, &title, applied.outcome);
    applied.stored.uid().context("the Secret that tokens are bound to has no UID")
}

/// Waits until the importer tells of the link's import that it is to be refreshed at such a time; whether
/// it did. It is then known to use that token.
async fn until_told(
    connected: &Connected,
    standing: &Standing,
    is_awaited: impl Fn(Timestamp) -> bool,
) -> anyhow::Result<bool> {
    let imports: Api<ServiceAccountImport> =
        Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let (target, name) = (&connected.target, standing.declared.import.name_any());
    let doing = format!("read service account import {SYSTEM_NAMESPACE}/{name}");
    // Nobody to wait for.
    if !has_importer(target).await {
        connected
            .voice
            .warn(&target.name, "no importer is running; one that is started will use the new token");
        return Ok(false);
    }
    let deadline = Instant::now() + TAKEN_WITHIN;
    loop {
        let import = target.call(&doing, imports.get(&name)).await?;
        if import.status.and_then(|status| status.refresh_time).is_some_and(|time| is_awaited(time.0)) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            let said = format!(
                "no importer has taken the new token within {} s; one that runs takes it once the old one is refused",
                TAKEN_WITHIN.as_secs()
            );
            connected.voice.warn(&target.name, &said);
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

/// What can't be asked may be there.
async fn has_importer(target: &Cluster) -> bool {
    match lease::read(target).await {
        Ok(Some(lease)) => lease::is_renewed(target, &lease, TAKEN_WITHIN).await,
        Ok(None) => false,
        Err(_) => true,
    }
}

async fn report(connected: &Connected, standing: Standing, checked: &Checked) -> anyhow::Result<()> {
    let Standing { old, granted, .. } = standing;
    let (source, target) = (&connected.source, &connected.target);
    if let Some(expires_at) = checked.expires_at {
        let said = format!("has another credential to {}, until {}", source.name, to_the_second(expires_at));
        output::say(&target.name, &said);
    }
    let Some(token) = old.config.auth_info.token else { return Ok(()) };
    output::say(&source.name, "waiting until it refuses the old token");
    if revoked::until_refused(source, &connected.plan.source.chosen, token).await? == Seen::Dead {
        output::say(&source.name, "the old token is refused, and so is every other that the link had");
        return Ok(());
    }
    bail!(
        "{}: the old token is still accepted, so it is not bound to secret {SYSTEM_NAMESPACE}/{}; it ends with the \
         service account: {}, and then: {}",
        source.name,
        target.name,
        connected.plan.flags.of("unlink", ""),
        Flags { others: granted.grants.flags(), command: "bootstrap", ..connected.plan.flags.clone() }
            .again(),
    )
}
