//! Tokens of service accounts: JSON web tokens (RFC 7519, ES256) that this server signs, and the key
//! set others check them with. What a token is bound to is checked by [`super::identity`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Digest;

/// Who signs, and the audience of tokens that name none: this API.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// The claims of a bound service account token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    /// Seconds since the epoch, as the other times.
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    pub nbf: i64,
    pub sub: String,
}

/// What a token stops with: its account, and the object it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    pub serviceaccount: Reference,
    /// Who still comes with the token after that does not read it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the service account key is not a P-256 private key (PKCS #8): {0}")]
pub struct KeyError(String);

/// The key that service account tokens are signed and checked with.
pub struct AccountKeys {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl AccountKeys {
    /// `pkcs8`: a P-256 private key, DER.
    pub fn new(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| KeyError(error.to_string()))?;
        let id = BASE64.encode(sha2::Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, random, id })
    }

    /// The compact form of a token with these claims; `None` if the machine has no randomness.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(serde_json::to_vec(claims).ok()?));
        let signature = self.pair.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", BASE64.encode(signature.as_ref())))
    }

    /// The claims of a token that this key signed; times and bindings are the caller's to check.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(text.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// The public key as a JSON web key set (RFC 7517).
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y)}]})
    }
}

/// The OpenID provider configuration that leads to the key set.
pub fn discovery() -> Value {
    json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}{JWKS_PATH}"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys() -> AccountKeys {
        AccountKeys::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap()
    }

    fn claims() -> Claims {
        let bound = Bound { namespace: "n".into(), ..Bound::default() };
        Claims {
            aud: vec![ISSUER.into()],
            exp: 2,
            iat: 1,
            iss: ISSUER.into(),
            jti: "j".into(),
            bound,
            nbf: 1,
            sub: "s".into(),
        }
    }

    #[test]
    fn only_what_the_key_signed_is_believed() {
        let keys = keys();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token), Some(claims()));
        let mut parts: Vec<&str> = token.split('.').collect();
        let forged = BASE64.encode(serde_json::to_vec(&Claims { sub: "root".into(), ..claims() }).unwrap());
        parts[1] = &forged;
        assert_eq!(keys.verify(&parts.join(".")), None);
        let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap());
        assert_eq!(keys.verify(&unsigned), None);
        assert_eq!(
            AccountKeys::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap().verify(&token),
            None
        );
        assert_eq!(keys.verify("not a token"), None);
    }
}
