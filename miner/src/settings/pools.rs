//! Where to mine: the pools of the command line, else those of the file.
//!
//! Read [`chosen`]. What flags say goes before what the file says, pool by pool.

use std::str::FromStr;

use config::{Secret, Section, parse};

use crate::cli::RunArgs;
use crate::error::Failure;
use crate::upstream::Pool;
use crate::upstream::proxy::{Login, Proxy};
use crate::upstream::tls::Fingerprint;
use crate::upstream::url::PoolUrl;

/// A `[[pool]]` of the file.
pub(super) fn pool(section: &mut Section<'_>) -> Option<Pool> {
    let user = section.required("user", parse::string());
    Some(Pool { user: user?, ..place(section)? })
}

/// A `[[pool]]` of a file that names its users elsewhere.
pub(crate) fn place(section: &mut Section<'_>) -> Option<Pool> {
    let url = section.required("url", parse::text_as(PoolUrl::from_str, "a pool's address"));
    let password = section.secret("password");
    let fingerprint =
        section.optional("tls_fingerprint", parse::text_as(Fingerprint::from_str, "a fingerprint"));
    let proxy = proxy(section);
    let password = password?.unwrap_or_else(|| Secret::new("x"));
    let (url, fingerprint) = (url?, fingerprint?);
    if fingerprint.is_some() && !url.is_tls() {
        section.problem("tls_fingerprint", "only a stratum+ssl pool shows a certificate");
        return None;
    }
    Some(Pool { url, user: String::new(), password, fingerprint, proxy: proxy? })
}

fn proxy(section: &mut Section<'_>) -> Option<Option<Proxy>> {
    let proxy = section.optional("proxy", parse::text_as(Proxy::from_str, "a proxy"));
    let user = section.optional("proxy_user", parse::string());
    let password = section.secret("proxy_password");
    match (proxy?, user?, password?) {
        (Some(proxy), Some(user), Some(password)) => match Login::new(user, password) {
            Ok(login) => Some(Some(proxy.with(login))),
            Err(error) => {
                section.problem("proxy_user", &error.to_string());
                None
            }
        },
        (proxy, None, None) => Some(proxy),
        (None, _, _) => {
            section.problem("proxy", "proxy_user and proxy_password are of no use without a proxy");
            None
        }
        (Some(_), _, _) => {
            section.problem("proxy_user", "proxy_user and proxy_password belong together");
            None
        }
    }
}

/// The pools of the command line, else those of the file; other flags go before the file's keys.
///
/// # Errors
/// What is wrong with a flag, or that there is no pool.
pub(super) fn chosen(args: &RunArgs, of_file: Vec<Pool>) -> Result<Vec<Pool>, Failure> {
    let (users, passwords) = credentials(args)?;
    let mut pools = match (args.urls.is_empty(), of_file.is_empty()) {
        (true, true) => {
            return Err(Failure::usage(
                "no pool: give -o stratum+tcp://HOST:PORT -u USER, or a [[pool]] in -c FILE",
            ));
        }
        (true, false) => of_file,
        (false, _) => of_urls(&args.urls)?,
    };
    let proxies = parsed("-x", &args.proxies)?;
    set("-u", users, &mut pools, |pool, user| pool.user = user)?;
    set("-p", passwords, &mut pools, |pool, password| pool.password = password)?;
    set("-x", proxies, &mut pools, |pool, proxy| pool.proxy = Some(proxy))?;
    pin(parsed("--tls-fingerprint", &args.fingerprints)?, &mut pools)?;
    match pools.iter().find(|pool| pool.user.is_empty()) {
        None => Ok(pools),
        Some(Pool { url, .. }) => {
            Err(Failure::usage(format!("-o {url}: the user name is missing; give -u USER")))
        }
    }
}

/// Pools as bare as the command line names them.
fn of_urls(urls: &[String]) -> Result<Vec<Pool>, Failure> {
    let bare = |url| Pool {
        url,
        user: String::new(),
        password: Secret::new("x"),
        fingerprint: None,
        proxy: None,
    };
    Ok(parsed("-o", urls)?.into_iter().map(bare).collect())
}

/// A pin for all pools over TLS, or one for each of them.
fn pin(fingerprints: Vec<Fingerprint>, pools: &mut [Pool]) -> Result<(), Failure> {
    let flag = "--tls-fingerprint";
    let mut encrypted: Vec<&mut Pool> = pools.iter_mut().filter(|pool| pool.url.is_tls()).collect();
    if !fingerprints.is_empty() && encrypted.is_empty() {
        return Err(Failure::usage(format!("{flag}: none of the pools is a stratum+ssl one")));
    }
    set(flag, fingerprints, &mut encrypted, |pool, pin| pool.fingerprint = Some(pin))
}

fn credentials(args: &RunArgs) -> Result<(Vec<String>, Vec<Secret>), Failure> {
    let Some(both) = &args.userpass else {
        return Ok((args.users.clone(), args.passwords.clone()));
    };
    let (user, password) =
        both.expose().split_once(':').ok_or_else(|| Failure::usage("-O: write USER:PASS"))?;
    Ok((vec![user.to_owned()], vec![Secret::new(password)]))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    flag: &str,
    texts: &[String],
) -> Result<Vec<T>, Failure> {
    let read = |text: &String| text.parse().map_err(|e| Failure::usage(format!("{flag} {e}")));
    texts.iter().map(read).collect()
}

/// Sets one value on all of `pools`, or one on each; none leaves them as they are.
fn set<P, T: Clone>(
    flag: &str,
    values: Vec<T>,
    pools: &mut [P],
    set: impl Fn(&mut P, T),
) -> Result<(), Failure> {
    match values.as_slice() {
        [] => {}
        [one] => pools.iter_mut().for_each(|pool| set(pool, one.clone())),
        many if many.len() == pools.len() => {
            pools.iter_mut().zip(values).for_each(|(pool, value)| set(pool, value));
        }
        many => {
            return Err(Failure::usage(format!(
                "{flag}: given {} times for {} pools; give it once, or once for each",
                many.len(),
                pools.len()
            )));
        }
    }
    Ok(())
}
