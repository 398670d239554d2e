//! The host of a client, and the client at its server.

super::codes! { "A client's host (`ferryctl clients upgrade`)"
    CLIENT_SERVER_FIRST "client-server-first" [Blocker] "5.3":
        "a client must not be newer than its server: the server is still PMM 2, is older than what was asked for, or does not say what it is"
        => "carry the server over first (`ferryctl migrate`), or ask for an older version with `--to`";
    CLIENT_NOT_INSTALLED "client-not-installed" [Blocker] "5.1":
        "no client of PMM's is installed on that host"
        => "name the host that has one";
    CLIENT_INSTALLATION "client-installation" [Blocker] "5.1":
        "the client is a package of RPM's on a host without dnf, or is asked to become what it does not come from: a package from a tarball, or the \
         other way round"
        => "see the sentence; by hand it goes as `docs/clients.md` says";
    CLIENT_FILE "client-file" [Blocker Warning] "5.1":
        "the tarball is not there, is none of a PMM client, is another one than its sum says, or has no sum beside it"
        => "fetch it again, and `FILE.sha256sum` with it";
    CLIENT_IN_CONTAINER "client-in-container" [Blocker] "5.1":
        "the server knows this client's node as a container, whose client comes with its image"
        => "change its image to `percona/pmm-client:3`, whose paths begin with `/usr/local/percona/pmm`";
    CLIENT_CONFIG "client-config" [Blocker] "5.1":
        "the client's configuration cannot be read, or does not say which agent it is"
        => "see the sentence for why; `pmm-agent setup` writes it";
    CLIENT_NOT_KNOWN "client-not-known" [Blocker] "5.2":
        "the server does not know an agent with the id that is in the client's configuration"
        => "see that the client belongs to the server named with `--server`: `ferryctl clients SERVER` lists its clients";
    CLIENT_NOT_CONNECTED "client-not-connected" [Blocker] "5.2":
        "the server says that the client is not connected, so that its coming back could prove nothing"
        => "`pmm-admin status` on its host says why";
    CLIENT_VERSION_DIFFERS "client-version-differs" [Blocker] "5.2":
        "the server hears another version, or none, than the one that is installed"
        => "`systemctl restart pmm-agent` on its host";
    CLIENT_UNIT_MISSING "client-unit-missing" [Blocker] "5.1":
        "systemd knows no `pmm-agent.service` there, or it does not run, so that nobody could start the client anew"
        => "`systemctl start pmm-agent` on its host";
    CLIENT_PACKAGE_MISSING "client-package-missing" [Blocker] "5.1":
        "no enabled repository there has a `pmm-client` that fits, or the tarball has another version"
        => "`percona-release enable pmm3-client` and `apt-get update`, or `dnf makecache`, on its host";
    CLIENT_NO_WAY_BACK "client-no-way-back" [Blocker] "5.1":
        "the package that is installed can be had nowhere: neither from the package manager's cache nor from an enabled repository"
        => "enable its repository there; with apt, putting its file into `/var/cache/apt/archives` does as well";
    CLIENT_COLLECTORS "client-collectors" [Note] "5.1":
        "collectors of the operator's lie in the client's folder, which the packages do not carry over; the plan does"
        => "nothing";
}
