# Ferry's images. `cargo xtask image agent|ctl|inside` builds the static programs, puts them into a small folder with
# `deploy/zz-ferry.ini` and an empty `run/ferry/` of mode 0700, and gives that folder to the engine. No step of any target runs a program,
# so an image can be built for a server that this machine could not start.

# What the controller stands on: nothing, unless engines are to be reached by ssh, whose program must then be in the base.
ARG CTL_BASE=scratch
# The server that `inside` is made from.
ARG PMM_IMAGE=scratch

# The agent alone: beside a server's processes, beside an engine, or in a pod.
FROM scratch AS agent
COPY ferryd /ferryd
ENTRYPOINT ["/ferryd"]

# The controller, with the agent beside it: that is where it looks for the one that it launches.
FROM ${CTL_BASE} AS ctl
COPY ferryctl ferryd /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/ferryctl"]

# A PMM server with the agent as one more supervised program. Its user, entrypoint, command, ports and volumes stay as they
# are; that only files are added makes it work over an image whose user is not root, too.
FROM ${PMM_IMAGE} AS inside
# The user that the server's supervisor runs as: it gets the folder `ferry` in `/run`, for the agent's socket. The builder keeps
# the modes of what lies in a folder that it copies, but not that of the folder itself: hence the one above.
ARG FERRY_UID=0
COPY ferryd /usr/local/bin/ferryd
COPY zz-ferry.ini /etc/supervisord.d/zz-ferry.ini
COPY --chown=${FERRY_UID}:0 run/ /run/
