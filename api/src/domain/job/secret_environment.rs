//! Secrets by the back door: variables whose names or values say that a secret stands in them in clear.
//!
//! What stands in `environment` is shown by every answer with the job, by ECS and in its events. This is
//! a net, not a wall: it catches what people do in a hurry.

/// Words that name a secret, alone or at the end of a compound such as `PGPASSWORD`.
const SECRETS: [&str; 12] = [
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "APIKEY",
    "ACCESSKEY",
    "SECRETKEY",
    "PRIVATEKEY",
    "CONNECTIONSTRING",
];

/// Words that name a secret and end too many others.
const WHOLE_SECRETS: [&str; 5] = ["PWD", "CREDENTIAL", "CREDENTIALS", "CREDS", "AUTHORIZATION"];

/// Two words that name one together.
const PAIRS: [(&str, &str); 16] = [
    ("API", "KEY"),
    ("API", "KEYS"),
    ("ACCESS", "KEY"),
    ("ACCESS", "KEYS"),
    ("ACCOUNT", "KEY"),
    ("AUTH", "KEY"),
    ("BASIC", "AUTH"),
    ("CONNECTION", "STRING"),
    ("DOCKER", "AUTH"),
    ("ENCRYPTION", "KEY"),
    ("HTTP", "AUTH"),
    ("PRIVATE", "KEY"),
    ("PROXY", "AUTH"),
    ("REDISCLI", "AUTH"),
    ("SHARED", "KEY"),
    ("SIGNING", "KEY"),
];

/// A name that ends in one of these says where a secret is, or something about it: `TOKEN_URL`,
/// `SECRET_ARN`, `PASSWORD_FILE`, `ACCESS_KEY_ID`, `TOKEN_TTL`.
const PLACES_AND_SETTINGS: [&str; 72] = [
    "AGE",
    "ALG",
    "ALGORITHM",
    "ALIAS",
    "ALIASES",
    "ARN",
    "ARNS",
    "AUDIENCE",
    "BACKEND",
    "BUCKET",
    "CLASS",
    "COUNT",
    "DAYS",
    "DIR",
    "DIRECTORY",
    "DISABLED",
    "DURATION",
    "ENABLED",
    "ENDPOINT",
    "ENDPOINTS",
    "EXPIRATION",
    "EXPIRES",
    "EXPIRY",
    "FIELD",
    "FILE",
    "FILENAME",
    "FILES",
    "FORMAT",
    "HEADER",
    "HOST",
    "HOURS",
    "ID",
    "IDS",
    "INTERVAL",
    "ISSUER",
    "KIND",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "LOCATION",
    "MANAGER",
    "MAX",
    "METHOD",
    "MIN",
    "MINUTES",
    "MODE",
    "MOUNT",
    "NAME",
    "NAMES",
    "NAMESPACE",
    "PARAM",
    "PARAMETER",
    "PATH",
    "PATHS",
    "POLICY",
    "PORT",
    "PREFIX",
    "PROVIDER",
    "REF",
    "REGION",
    "REQUIRED",
    "ROTATION",
    "SCOPE",
    "SECONDS",
    "SERVICE",
    "SIZE",
    "STORE",
    "SUFFIX",
    "TIMEOUT",
    "TTL",
    "TYPE",
    "URL",
];
/// More of those, which are so common that a long list must not hide them.
const MORE_PLACES: [&str; 3] = ["URI", "VERSION", "VAULT"];

/// Names that look like a secret's and by common use are none: a shell's directories, and the path of
/// a file.
const NOT_SECRET: [&str; 3] = ["PWD", "OLDPWD", "GOOGLE_APPLICATION_CREDENTIALS"];

/// Values that are a setting whatever the name is.
const SETTINGS: [&str; 12] =
    ["true", "false", "yes", "no", "on", "off", "0", "1", "none", "null", "enabled", "disabled"];

/// Why the variable `name` with `value` may not stand in an environment; `None` if it may. The value is
/// never part of it.
pub(in crate::domain) fn secret_in_environment(name: &str, value: &str) -> Option<&'static str> {
    if holds_access_key(value) {
        return Some("holds what looks like an AWS access key: give the job a `task_role`");
    }
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY-----") {
        return Some("holds a private key: keep it in a secret, and name that in `secrets`");
    }
    if holds_url_password(value) {
        return Some(
            "holds a URL with a password: keep it in a secret, and name that in `secrets`",
        );
    }
    let is_setting = SETTINGS.iter().any(|one| value.eq_ignore_ascii_case(one));
    // An ARN names a secret and is none.
    if value.is_empty() || is_setting || value.starts_with("arn:") || !is_secret_name(name) {
        return None;
    }
    Some(
        "has the name of a secret, and every answer, ECS and its events show what is in \
         `environment`: keep the value in Secrets Manager or Parameter Store, and name that in \
         `secrets`",
    )
}

fn is_secret_name(name: &str) -> bool {
    if NOT_SECRET.contains(&name) {
        return false;
    }
    let words = words(name);
    let is_place = words.last().is_some_and(|last| {
        PLACES_AND_SETTINGS.contains(&last.as_str()) || MORE_PLACES.contains(&last.as_str())
    });
    let is_secret = |word: &String| {
        SECRETS.iter().any(|one| word.ends_with(one)) || WHOLE_SECRETS.contains(&word.as_str())
    };
    let is_pair = |pair: &[String]| PAIRS.iter().any(|(a, b)| pair[0] == *a && pair[1] == *b);
    !is_place && (words.iter().any(is_secret) || words.windows(2).any(is_pair))
}

/// The words of a name in capitals, without numbers at their ends: `dbPassword2` is `DB`, `PASSWORD`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for one in name.chars() {
        let ends = !one.is_alphanumeric() || (one.is_uppercase() && was_lower);
        if ends {
            words.push(String::new());
        }
        was_lower = one.is_lowercase();
        if let Some(word) = words.last_mut()
            && one.is_alphanumeric()
        {
            word.extend(one.to_uppercase());
        }
    }
    let plain = words.iter().map(|word| word.trim_end_matches(|one: char| one.is_ascii_digit()));
    plain.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// IAM User Guide, "IAM identifiers": `AKIA` begins the id of a user's access key, `ASIA` that of a
/// temporary one; 16 capitals and digits follow.
fn holds_access_key(value: &str) -> bool {
    let is_of_key = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit();
    value
        .split(|one| !is_of_key(one))
        .any(|word| word.len() == 20 && (word.starts_with("AKIA") || word.starts_with("ASIA")))
}

/// `scheme://user:password@host` (RFC 3986, section 3.2.1); a placeholder in the password's place is
/// none.
fn holds_url_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '\n']).next().unwrap_or_default();
        let password = authority
            .rsplit_once('@')
            .and_then(|(user, _)| user.split_once(':'))
            .map(|(_, password)| password);
        password.is_some_and(|one| !one.is_empty() && !one.contains(['$', '{', '<', '%']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "PASSWORD",
            "password",
            "DB_PASSWORD",
            "db.password",
            "spring.datasource.password",
            "db-passwd",
            "PGPASSWORD",
            "MYSQL_PWD",
            "dbPassword",
            "PASSWORD_2",
            "PASSWORD2",
            "SSH_PASSPHRASE",
            "SECRET",
            "CLIENT_SECRET",
            "clientSecret",
            "SECRET_KEY",
            "SECRET_KEY_BASE",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "TOKEN",
            "GITHUB_TOKEN",
            "GH_TOKEN_PROD",
            "authToken",
            "API_KEY",
            "APIKEY",
            "X-Api-Key",
            "STRIPE_API_KEYS",
            "AWS_ACCESS_KEY",
            "PRIVATE_KEY",
            "CREDENTIALS",
            "DB_CREDENTIAL",
            "BASIC_AUTH",
            "AUTHORIZATION",
            "AUTH_TOKEN",
            "CONNECTION_STRING",
            "ConnectionString",
        ] {
            assert!(secret_in_environment(name, "x").is_some(), "{name}");
            assert!(secret_in_environment(name, "").is_none(), "{name}, empty");
        }
    }

    #[test]
    fn names_of_places_and_settings_are_none_of_secrets() {
        for name in [
            "PWD",
            "OLDPWD",
            "HOME",
            "TOKEN_URL",
            "TOKEN_ENDPOINT",
            "SECRET_NAME",
            "SECRET_ARN",
            "DB_SECRET_ID",
            "PASSWORD_FILE",
            "POSTGRES_PASSWORD_FILE",
            "SECRET_TTL",
            "TOKEN_EXPIRY",
            "KEY_ID",
            "AWS_ACCESS_KEY_ID",
            "AWS_SHARED_CREDENTIALS_FILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "PASSWORD_MIN_LENGTH",
            "MAX_TOKENS",
            "TOKENIZER",
            "TOKENIZERS_PARALLELISM",
            "SECRETARY",
            "PARTITION_KEY",
            "PRIMARY_KEY",
            "PUBLIC_KEY",
            "KEY",
            "AUTH_MODE",
            "AUTHOR",
            "COMPASS",
            "API_KEY_HEADER",
            "STRING",
            "",
            "_",
        ] {
            assert_eq!(secret_in_environment(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn a_setting_or_an_arn_is_no_secret_whatever_its_name() {
        for value in ["true", "FALSE", "0", "off", "arn:aws:ssm:eu-west-1:1:parameter/app/token"] {
            assert_eq!(secret_in_environment("REQUIRE_PASSWORD", value), None, "{value}");
        }
    }

    #[test]
    fn values_that_are_secrets_are_known_whatever_the_name() {
        for value in [
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "key=AKIAIOSFODNN7EXAMPLE;region=eu-west-1",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "postgres://app:hunter2@db.example.com/app",
            "amqps://a:b@c",
        ] {
            let told = secret_in_environment("GREETING", value).expect(value);
            assert!(!told.contains(value), "{told}");
        }
        for value in [
            "AKIA",
            "AKIAIOSFODNN7EXAMPLEX",
            "akiaiosfodnn7example",
            "XAKIAIOSFODNN7EXAMPLE",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN CERTIFICATE-----",
            "https://example.com/a:b@c",
            "postgres://app@db.example.com/app",
            "postgres://app:@db.example.com/app",
            "postgres://app:${PASSWORD}@db.example.com/app",
            "a@b:c",
        ] {
            assert_eq!(secret_in_environment("GREETING", value), None, "{value}");
        }
    }
}
