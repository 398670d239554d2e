//! Which version becomes which.

super::codes! { "Versions and images"
    NOT_PMM "not-pmm" [Blocker] "7.4":
        "neither the image nor anything that answers in the container speaks of PMM"
        => "give the name of the PMM server's container";
    VERSION_UNKNOWN "version-unknown" [Blocker] "0.1":
        "it is a PMM server, and its version could not be read"
        => "wait until PMM answers";
    ALREADY_PMM_3 "already-pmm-3" [Blocker] "0.1":
        "the server is a PMM 3 already, and what it shall become is none"
        => "name a later PMM 3 to update it";
    VERSION_TOO_OLD "version-too-old" [Blocker] "0.1":
        "upstream's way to PMM 3 starts at 2.44; an older schema was never tried"
        => "update to `percona/pmm-server:2.44.1` first, by `ferryctl migrate` or by its `--via`";
    HOPS "hops" [Note] "0.1":
        "the server is older than the PMM 2 to start from, or shall become a later PMM 3 than the one to enter at: those come first, each by a run of its own"
        => "nothing; `--via` names other images, and `--direct` leaves them out";
    HOP_UNAVAILABLE "hop-unavailable" [Blocker] "0.1":
        "an image that comes before the wished one is not there, or is not the version that it should be"
        => "pull or load it; or name it as you have it, by `--via`";
    VERSION_NOT_LAST "version-not-last" [Warning] "0.1":
        "it is a 2.44, and upstream tests the migration from 2.44.1"
        => "update to 2.44.1 first, if you can, by `--via`";
    UPDATED_INSIDE "updated-inside" [Note] "1.10":
        "the server was updated inside its container, so its image's version says less than the server's own"
        => "nothing";
    TARGET_UNOBSERVED "target-unobserved" [Blocker] "":
        "the image to become was not looked at, or another one was"
        => "name the target with `--to`";
    TARGET_UNAVAILABLE "target-unavailable" [Blocker] "":
        "the image to become cannot be had from its registry"
        => "correct the name, log in to the registry, or load the image with `docker load`";
    TARGET_MISSING "target-missing" [Blocker] "":
        "the engine does not have the image to become, and `check` pulls nothing"
        => "`docker pull` it, or use `ferryctl plan`";
    TARGET_NOT_PMM_3 "target-not-pmm-3" [Blocker] "0.1":
        "the image to become is no PMM 3 server"
        => "name a PMM 3 image";
    TARGET_UNIDENTIFIED "target-unidentified" [Blocker] "":
        "the engine gives no id for the image to become, and a plan must name exactly one"
        => "pull it again";
    TARGET_OWNER_ROOT "target-owner-root" [Blocker] "7.4":
        "the image to become runs as root, which PMM 3's PostgreSQL refuses"
        => "use an image of upstream's, or one with `USER 1000`";
    TARGET_VERSION_UNKNOWN "target-version-unknown" [Blocker] "7.4":
        "the image to become does not say which PMM 3 it is"
        => "name an image with a full version";
    TARGET_TOO_NEW "target-too-new" [Blocker] "0.1":
        "upstream has no way from PMM 2 to that version"
        => "migrate to 3.8.1 first, then update";
    TARGET_POSTGRES_UPGRADE "target-postgres-upgrade" [Blocker Warning] "1.7":
        "that version also upgrades PostgreSQL 14 to 18 at its first start, which upstream does not test from PMM 2"
        => "migrate to 3.8.1 first, then update; or allow it with `--allow-target target-postgres-upgrade`, and rehearse it";
    TARGET_BEYOND_TESTED "target-beyond-tested" [Warning] "0.1":
        "that version is later than the last that upstream's own tool migrates PMM 2 to"
        => "migrate to 3.8.1 first, then update";
    TARGET_3_7_0 "target-3-7-0" [Blocker Warning] "1.6":
        "3.7.0 does not set the password of role `pmm-managed` anew, and may stay in \"PMM is being upgraded\""
        => "choose 3.8.1, where that is repaired; or allow it with `--allow-target target-3-7-0`";
    UPDATE "update" [Note] "0.1":
        "the image to become is of the server's own major version: an update, in which ports, paths and variables stay what they are"
        => "nothing";
    UPDATE_NOT_NEWER "update-not-newer" [Blocker] "":
        "the image to become is of the server's own version, or of an older one, whose schema the data has left behind"
        => "name a newer image";
    UPDATE_SHORT "update-short" [Warning] "0.1":
        "the image to become is a PMM 2, and not the last one, from which the way to PMM 3 starts"
        => "update to 2.44.1";
    UPDATE_POSTGRES_UPGRADE "update-postgres-upgrade" [Warning] "1.7":
        "the image to become also upgrades PostgreSQL 14 to 18 at its first start"
        => "nothing, if it takes longer; the way back is the copy of the data";
    UPDATE_NOT_REHEARSED "update-not-rehearsed" [Blocker] "":
        "a rehearsal is one of the crossing from PMM 2 to PMM 3, and this is an update within a major version"
        => "update without a rehearsal: the run has a backup and goes back by itself";
    TARGET_FLOATING_TAG "target-floating-tag" [Blocker Note] "0.1":
        "the image's name may stand for another image tomorrow, so that a plan would not say what becomes of the server"
        => "name a full version or a digest; or say `--allow-floating-tag`, and the plan takes the image of today, by its id";
}
