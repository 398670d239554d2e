//! Where the backup goes.

super::codes! { "The backup, space and inodes"
    DISK_TOO_SMALL "disk-too-small" [Blocker] "6":
        "there is not enough room where the backup is made"
        => "free or add space there, or name another place with `--backup-to`";
    DISK_TIGHT "disk-tight" [Warning] "6":
        "there is room, and little is left for what PMM 3 rewrites of PostgreSQL and ClickHouse at its first start"
        => "free or add space on that disk";
    DISK_ROOM "disk-room" [Note] "6":
        "there is room where the backup is made"
        => "nothing";
    DATA_DISK_TOO_SMALL "data-disk-too-small" [Blocker] "6":
        "the proof of the dumps has no room on the disk of the data"
        => "free or add space there";
    DATA_DISK_ROOM "data-disk-room" [Note] "6":
        "there is room on the disk of the data"
        => "nothing";
    INODES_TOO_FEW "inodes-too-few" [Blocker] "6":
        "the copy needs an inode for each entry, and the file system has fewer left"
        => "free inodes there, or name another place with `--backup-to`";
    BACKUP_FOLDER_UNOBSERVED "backup-folder-unobserved" [Blocker] "":
        "the folder for the backup was not looked at"
        => "use agent and controller of one release";
    BACKUP_FOLDER_UNUSABLE "backup-folder-unusable" [Blocker] "":
        "the folder for the backup is not there, not mounted, or cannot be written to"
        => "name one that is, on the engine's host";
    BACKUP_INSIDE_DATA "backup-inside-data" [Blocker] "":
        "the folder for the backup lies in the server's data: the copy would be a part of what it is a copy of"
        => "name a folder outside of it, best on another disk";
    BACKUP_LOSES_OWNERS "backup-loses-owners" [Blocker] "8.5":
        "the folder's file system does not keep owners and modes, which the way back needs"
        => "name a folder on ext4, XFS or the like; a network mount must let root give files away";
    BACKUP_IN_MEMORY "backup-in-memory" [Blocker] "":
        "the folder is in memory, and a backup there is gone when the host restarts"
        => "name a folder on a disk";
    BACKUP_LOSES_ATTRIBUTES "backup-loses-attributes" [Warning] "":
        "the folder's file system takes no extended attributes; if a file of the data has some, the copy fails, before the server is stopped"
        => "name a folder on another file system, if the data has such files";
    BACKUP_SAME_DISK "backup-same-disk" [Note] "":
        "the backup is on the file system of the server's data: a disk that fails takes both"
        => "nothing, or name a folder on another disk";
}
