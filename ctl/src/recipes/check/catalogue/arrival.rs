//! The machine that a server moves to, and the one that it comes from.

super::codes! { "A server that moves to this machine (`ferryctl migrate --onto`)"
    CONTAINER_TAKEN "container-taken" [Blocker] "":
        "there is a container already of the name that the moved server's shall have, and that is always a new one"
        => "name another one by `--onto`; where an earlier run has moved the server, go on from its container";
    PORT_TAKEN "port-taken" [Blocker] "":
        "another program listens on this machine where the moved server's container shall"
        => "end it, or publish other ports by `--publish`";
    VOLUMES_OUT_OF_REACH "volumes-out-of-reach" [Blocker] "7.1":
        "the host agent brings the data into the engine's volume itself, and cannot: it is not root, is not beside the engine, its unit forbids it, or the \
         engine's containers see other owners than its host"
        => "run `ferryctl` as root on the machine that has the engine, or give its host agent the rights ([how](appliance.md#a-host-agent-on-the-new-machine)); by hand `ferryd pull` goes into any folder";
    ORIGIN_REFUSES "origin-refuses" [Blocker] "":
        "the agent on the old machine does not give its data to the certificate of this one"
        => "name this machine among the `readers` of the policy there; the log there says whom it refused";
    ORIGIN_UNOBSERVED "origin-unobserved" [Blocker] "1.3":
        "the agent on the old machine says nothing of a server or of its data"
        => "start `ferryd appliance` there, of this release, and see that PMM runs";
    MOVE_IMAGE "move-image" [Blocker] "1.10":
        "the image for the moved server cannot be had, or is not of the very version that the old machine runs: it would be another PMM on that data"
        => "name an image of that version by `--from-image`";
    ORIGIN_MOUNTS "origin-mounts-below" [Blocker] "1.3":
        "another file system is mounted below the data on the old machine; what is on it is not part of the tree, and would be missing"
        => "copy what is needed into the data itself there and unmount it, or move [by hand](appliance.md#by-hand)";
    SELINUX_ON "selinux-on" [Note] "6":
        "the engine of this machine confines its containers by SELinux, which PMM's appliances do not enforce; the labels of the old machine stay behind"
        => "nothing for the volume, which the engine labels; a folder for backups needs the label `container_file_t`";
    OWNERS_RENUMBERED "owners-renumbered" [Note] "1.1":
        "users or groups have other numbers in the image than on the old machine; by their names each gets the image's, while the data is received"
        => "nothing";
    OWNER_NOT_IN_IMAGE "owner-not-in-image" [Warning] "1.1":
        "entries belong to a number that has no name on the old machine, or whose name the image does not have; they keep the number"
        => "where that number is somebody else's in the image, say whose it shall be by `--map-user OLD:NEW` or `--map-group OLD:NEW`";
}
