//! Who a request comes from: service account tokens, client certificates.

use crate::Server;
use crate::raw::ask;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_service_accounts_live_as_long_as_the_account() {
    let server = Server::start().await;
    server.ok(&["create", "sa", "bot"], "");
    let token = server.ok(&["create", "token", "bot", "--duration=20m"], "");
    let flag = format!("--token={}", token.trim());
    server.says(&["auth", "whoami", &flag], "", "system:serviceaccount:default:bot");
    server.says(&["auth", "whoami", &flag], "", "system:serviceaccounts:default");
    let refused =
        "pods is forbidden: User \"system:serviceaccount:default:bot\" cannot list resource \"pods\" in API group \"\"";
    server.fails(&["get", "pods", &flag], "", refused);
    let review = json!({"spec": {"token": token.trim(), "audiences": ["elsewhere"]}}).to_string();
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, answer) =
        ask(&server, "POST", path, &[], review.replace("elsewhere", "https://kubernetes.default.svc.cluster.local"))
            .await;
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:bot");
    let (_, answer) = ask(&server, "POST", path, &[], review).await;
    assert_eq!(answer["status"]["authenticated"], json!(null));
    server.ok(&["delete", "sa", "bot"], "");
    server.fails(&["auth", "whoami", &flag], "", "Unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_bound_and_their_requests_checked() {
    let server = Server::start().await;
    server.ok(&["create", "sa", "bot"], "");
    let short = "may not specify a duration less than 10 minutes";
    server.fails(&["create", "token", "bot", "--duration=10s"], "", short);
    server.fails(&["create", "token", "nobody"], "", "serviceaccounts \"nobody\" not found");
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"serviceAccountName":"bot",
        "containers":[{"name":"c","image":"i"}]}}"#;
    server.ok(&["create", "-f", "-"], pod);
    let token = server.ok(&["create", "token", "bot", "--bound-object-kind=Pod", "--bound-object-name=p"], "");
    let flag = format!("--token={}", token.trim());
    server.says(&["auth", "whoami", &flag], "", "authentication.kubernetes.io/pod-name");
    server.ok(&["delete", "pod", "p", "--now"], "");
    server.fails(&["auth", "whoami", &flag], "", "Unauthorized");
    server.says(&["get", "--raw", "/openid/v1/jwks"], "", "P-256");
    server.says(&["get", "--raw", "/.well-known/openid-configuration"], "", "/openid/v1/jwks");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_the_ca_name_users() {
    let server = Server::start().await;
    let read = |name: &str| std::fs::read_to_string(server.directory.path().join(name)).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&read("pki/ca.crt"), KeyPair::from_pem(&read("pki/ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = server.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = format!("--client-certificate={}", file("alice.crt", certificate.pem()));
    let key = format!("--client-key={}", file("alice.key", key.serialize_pem()));
    let flags = ["--token=", &certificate, &key];
    server.says(&[&["auth", "whoami"], &flags[..]].concat(), "", "alice");
    server.says(&[&["get", "ns"], &flags[..]].concat(), "", "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_can_be_named() {
    let server = Server::start().await;
    let request = http::Request::get("/version").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let answer = server.api.handle_authenticated(request).await;
    assert_eq!(answer.headers()["audit-id"].len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_grant_what_roles_say() {
    let server = Server::start().await;
    let bob = "--as=bob";
    server.fails(&["get", "cm", bob], "", "User \"bob\" cannot list resource \"configmaps\"");
    server.ok(&["create", "role", "reader", "--verb=get,list", "--resource=configmaps"], "");
    server.ok(&["create", "rolebinding", "reads", "--role=reader", "--user=bob", "--serviceaccount=default:bot"], "");
    server.ok(&["get", "cm", bob], "");
    server.ok(&["get", "cm", "--as=system:serviceaccount:default:bot"], "");
    server.fails(&["get", "cm", "-A", bob], "", "at the cluster scope");
    server.fails(&["create", "cm", "x", bob], "", "cannot create resource");
    server.says(&["auth", "can-i", "list", "configmaps", bob], "", "yes");
    server.says(&["auth", "can-i", "--list", bob], "", "configmaps");
    // Who may write bindings may not give away what they were not given to bind.
    server.ok(&["create", "role", "binder", "--verb=create", "--resource=rolebindings.rbac.authorization.k8s.io"], "");
    server.ok(&["create", "rolebinding", "binds", "--role=binder", "--user=bob"], "");
    let grab = ["create", "rolebinding", "grab", "--clusterrole=cluster-admin", "--user=bob", bob];
    server.fails(&grab, "", "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_get_what_their_account_gives() {
    let server = Server::start().await;
    let pod = |name: &str, more: &str| {
        format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"i\"}}]{more}}}}}"
        )
    };
    let volumes = |name: &str| server.ok(&["get", "pod", name, "-o", "jsonpath={.spec.volumes[*].name}"], "");
    server.ok(&["create", "-f", "-"], &pod("plain", ""));
    assert!(volumes("plain").starts_with("kube-api-access-"), "{}", volumes("plain"));
    let mounts = "jsonpath={.spec.containers[0].volumeMounts[*].mountPath}";
    server.says(&["get", "pod", "plain", "-o", mounts], "", "/var/run/secrets/kubernetes.io/serviceaccount");
    let owned =
        server.ok(&["get", "pod", "plain", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields}"], "");
    assert!(owned.contains("f:containers") && !owned.contains("f:volumes"), "{owned}");
    server.ok(&["apply", "-f", "-"], &pod("plain", ""));

    let missing = "error looking up service account default/bot: serviceaccount \"bot\" not found";
    server.fails(&["create", "-f", "-"], &pod("early", ",\"serviceAccountName\":\"bot\""), missing);
    let bot = r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bot"},"automountServiceAccountToken":false,
        "imagePullSecrets":[{"name":"pull"}]}"#;
    server.ok(&["create", "-f", "-"], bot);
    server.ok(&["create", "-f", "-"], &pod("quiet", ",\"serviceAccountName\":\"bot\""));
    assert_eq!(volumes("quiet"), "");
    server.says(&["get", "pod", "quiet", "-o", "jsonpath={.spec.imagePullSecrets[0].name}"], "", "pull");
    let says = ",\"serviceAccountName\":\"bot\",\"automountServiceAccountToken\":true";
    server.ok(&["create", "-f", "-"], &pod("loud", says));
    assert!(volumes("loud").starts_with("kube-api-access-"));
}
