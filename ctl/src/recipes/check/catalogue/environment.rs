//! The container's variables.

super::codes! { "Environment variables"
    ENV_INVALID "env-invalid" [Blocker] "1.9":
        "a variable has a value that PMM 3 exits at: a boolean that is none of Go's (`1 t T TRUE true True 0 f F FALSE false False`), or no duration such as `720h`"
        => "make the container again with the value corrected; `--show env` names the variables";
    ENV_RENAMED "env-renamed" [Warning] "1.9":
        "variables have other names in PMM 3, are inverted or dropped; the new container gets them translated"
        => "see each of them with `--show env`, and change your own scripts and files";
    ENV_IGNORED "env-ignored" [Warning] "1.4":
        "a variable has a name like PMM's that PMM 3 does not know; it ignores it with no more than a line in its log"
        => "see what it was for, and find its place in PMM 3's settings";
    ENV_UNKNOWN "env-unknown" [Warning] "":
        "the agent says something of a variable that this controller does not understand"
        => "use agent and controller of one release";
    DBAAS_REMOVED "dbaas-removed" [Warning] "1.10":
        "DBaaS is switched on by a variable; PMM 3 has none, and drops the registered Kubernetes clusters"
        => "note the registered clusters before the crossing; nothing happens to the clusters themselves";
}
