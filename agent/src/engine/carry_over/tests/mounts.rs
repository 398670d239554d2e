//! The rows about mounts.

use serde_json::{Value, json};

use super::*;

fn mount(
    kind: &str,
    name: &str,
    source: &str,
    destination: &str,
    mode: &str,
    rw: bool,
    propagation: &str,
) -> Value {
    json!({"Type": kind, "Name": name, "Source": source, "Destination": destination, "Mode": mode, "RW": rw, "Propagation": propagation})
}

#[test]
fn an_anonymous_volume_is_named_however_it_came() {
    for (binds, from) in [
        (json!(null), json!(["pmm-data"])),
        (json!(["/srv"]), json!(null)),
    ] {
        let mut old = old();
        set(&mut old, "/HostConfig/Binds", binds);
        set(&mut old, "/HostConfig/VolumesFrom", from);
        set(
            &mut old,
            "/Mounts",
            json!([mount("volume", ID, "/v", "/srv", "", true, "")]),
        );
        let done = run(&old);
        assert_eq!(
            done.body["HostConfig"]["Binds"],
            json!([format!("{ID}:/srv")])
        );
        assert!(done.body["HostConfig"].get("VolumesFrom").is_none());
    }
}

#[test]
fn binds_keep_mode_label_and_propagation() {
    let done = with(
        "/Mounts",
        json!([
            mount("bind", "", "/data/srv", "/srv", "Z", true, "rprivate"),
            mount("bind", "", "/certs", "/srv/certs", "ro,z", false, "rslave"),
            mount("bind", "", "/a:b", "/odd", "", false, "rprivate"),
        ]),
    );
    assert_eq!(
        done.body["HostConfig"]["Binds"],
        json!(["/data/srv:/srv:Z", "/certs:/srv/certs:z,ro,rslave"])
    );
    assert_eq!(
        done.body["HostConfig"]["Mounts"],
        json!([{"Type": "bind", "Source": "/a:b", "Target": "/odd", "ReadOnly": true, "BindOptions": {"Propagation": "rprivate"}}])
    );
}

#[test]
fn typed_mounts_keep_their_options() {
    let mut old = old();
    let asked = json!([{"Type": "volume", "Target": "/srv", "VolumeOptions": {"NoCopy": true}}, {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 9}}]);
    set(&mut old, "/HostConfig/Mounts", asked);
    set(
        &mut old,
        "/Mounts",
        json!([
            mount("volume", ID, "/v", "/srv", "z", true, ""),
            mount("tmpfs", "", "", "/t", "", true, "")
        ]),
    );
    assert_eq!(
        run(&old).body["HostConfig"]["Mounts"],
        json!([{"Type": "volume", "Source": ID, "Target": "/srv", "VolumeOptions": {"NoCopy": true}},
               {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 9}}])
    );
}

#[test]
fn mount_targets_are_translated() {
    let done = with(
        "/Mounts",
        json!([
            mount("volume", "d", "", "/srv", "", true, ""),
            mount(
                "bind",
                "",
                "/a",
                "/usr/local/percona/pmm2/config",
                "",
                true,
                ""
            ),
            mount("bind", "", "/b", "/etc/alertmanager", "", true, ""),
            mount("bind", "", "/c", "/etc/nginx/conf.d", "", false, ""),
            mount("bind", "", "/n", "/srv/nginx", "", false, ""),
        ]),
    );
    assert_eq!(
        done.body["HostConfig"]["Binds"],
        json!([
            "/c:/etc/nginx/conf.d:ro",
            "d:/srv",
            "/n:/srv/nginx:ro",
            "/a:/usr/local/percona/pmm/config"
        ])
    );
    for code in [
        "mount-moved",
        "mount-dropped",
        "mount-v2-config",
        "mount-nginx",
    ] {
        assert!(codes(&done).contains(&code), "{code}");
    }
}

#[test]
fn data_without_a_mount_is_an_error_unless_a_volume_is_given() {
    for mounts in [
        json!([]),
        json!([mount("bind", "", "/p", "/srv/postgres14", "", true, "")]),
        json!([mount("tmpfs", "", "", "/srv", "", true, "")]),
    ] {
        let mut old = old();
        set(&mut old, "/Mounts", mounts);
        let error = carry_over(
            &old,
            &old_image(),
            &new_image(),
            &[],
            &CarryOverOptions::default(),
        )
        .unwrap_err();
        assert_eq!(
            error,
            CarryOverError::NoDataMount {
                container: "pmm-server".into()
            }
        );
        let options = CarryOverOptions {
            data_volume: Some("restored".into()),
            ..Default::default()
        };
        let done = carry_over(&old, &old_image(), &new_image(), &[], &options).unwrap();
        assert_eq!(done.body["HostConfig"]["Binds"][0], "restored:/srv");
    }
}

#[test]
fn the_order_that_the_engine_tells_them_in_does_not_matter() {
    let mut mounts = vec![
        mount("volume", "d", "", "/srv", "", true, ""),
        mount("bind", "", "/x", "/srv/x", "", true, ""),
        mount("bind", "", "/a", "/a", "", true, ""),
    ];
    let one = with("/Mounts", json!(mounts));
    mounts.reverse();
    assert_eq!(with("/Mounts", json!(mounts)).body, one.body);
}
