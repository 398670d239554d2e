//! The server's data.

super::codes! { "The server's data"
    DATA_UNOBSERVED "data-unobserved" [Blocker] "7.4":
        "nothing was seen of the server's data"
        => "see that the container has a volume at `/srv`";
    DATA_BIND_MOUNT "data-bind-mount" [Note] "6":
        "the data is a folder of the host; PMM 3's user must also be able to pass its parent folders"
        => "see that they can be passed by everybody (`chmod o+x`)";
    DATA_MOUNT_KIND "data-mount-kind" [Blocker] "7.4":
        "the data is on a mount that does not outlive a container, such as `tmpfs`"
        => "move the data to a volume first";
    DATA_WITHOUT_VOLUME "data-without-volume" [Blocker] "6":
        "the data lies in the container itself and would be lost with it"
        => "say `--data-to-volume`: the data of a PMM 2 is copied to a new volume first, by a run of its own ([how](no-volume.md))";
    DATA_TO_VOLUME "data-to-volume" [Note] "7.4":
        "the data lies in the container itself, and is copied to a new volume first, as was asked for"
        => "nothing: the crossing goes on from there as a run of its own";
    DATA_VOLUME_TAKEN "data-volume-taken" [Blocker] "":
        "there is a volume already of the name that the new one shall have, and nothing is ever copied over one"
        => "name another one by `--data-to-volume NAME`, or remove that one when nobody needs it";
    DATA_VOLUME_ROOM "data-volume-room" [Blocker Note] "":
        "what the data needs on its new volume, and what is free where the engine keeps volumes"
        => "free or add space there";
    DATA_VOLUME_OTHER_VERSION "data-volume-other-version" [Blocker] "1.10":
        "the server was updated inside its container, so that a container made again from its image would be an older PMM on newer data"
        => "make the container again by hand from the image of the server's own version, with a volume";
    DATA_VOLUME_NEEDLESS "data-volume-needless" [Blocker Note] "":
        "the data is on a mount already, so that nothing has to be copied to a volume first; a plan for that is one too many"
        => "nothing: beside `--to`, `--data-to-volume` does nothing then";
    DATA_READ_ONLY "data-read-only" [Blocker] "1.4":
        "the data is mounted read-only, and PMM 3 exits when it cannot write to it"
        => "make the container again with a writable volume";
    DATA_EMPTY "data-empty" [Blocker] "6":
        "the data is empty or was not measured: it may be the wrong volume"
        => "see that the volume is the right one";
    PROOF_ROOM "proof-room" [Blocker] "":
        "the dumps are proven by restoring them once on the server's own volume, which has no room for that"
        => "free space on the server's volume";
    DATA_SHARED "data-shared" [Blocker] "2.1":
        "another container that runs has the data mounted too, and may write to it"
        => "stop it, or detach the data from it";
    DATA_SHARED_STOPPED "data-shared-stopped" [Warning] "2.1":
        "another container that is stopped has the data mounted too"
        => "do not start it while the plan is applied, and never with PMM 2 afterwards";
    HARD_LINKS_OUTSIDE "hard-links-outside" [Blocker] "8.5":
        "files of the data have a name outside of it too, and would change their owner there as well"
        => "replace each by a copy of its own (`cp --preserve=all`, then `mv`)";
    IMMUTABLE_FILES "immutable-files" [Blocker] "":
        "entries are immutable or append-only, and can be given to nobody"
        => "take the attribute off each, as root (`chattr -i -a`)";
    MOUNT_BELOW_READ_ONLY "mount-below-read-only" [Blocker Warning] "6":
        "something is mounted read-only below the data and left as it is; at `/srv/nginx` PMM 3.8 and later make folders and would exit"
        => "mount certificates file by file instead of the folder, readable for uid 1000";
    MOUNT_BELOW "mount-below" [Warning] "6":
        "something with a mount of its own lies below the data; it is neither copied nor given to PMM 3"
        => "back it up, and give it to uid 1000, yourself";
    OWNERS_MANY "owners-many" [Note] "1.8":
        "the data has unusually many owners; each is recorded for the way back"
        => "nothing";
    OPEN_RUN "open-run" [Blocker] "":
        "a run has left its state on this data and is not over"
        => "`ferryctl resume` or `ferryctl rollback` that run first";
}
