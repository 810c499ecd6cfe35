# The image of Swarmscale: controller and sidecar on what they need of Debian, nothing else. docs/image.md
#
#   docker build -t swarmscale/swarmscale:0.1.0 .
#
# scripts/build-image builds it also without a registry or a running engine: it makes the contents of the stages `root` and
# `programs` on the machine and gives them in their place (--build-context), so that only the last stage is built.

ARG SWIFT_IMAGE=docker.io/library/swift:6.3-bookworm
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim

# --- What the image has of Debian. Below the programs, so that releases share it while Debian has no updates.
FROM ${DEBIAN_IMAGE} AS root
ARG SOURCE_DATE_EPOCH
# Count up (or --no-cache) to have Debian's updates of today: the layers of before know nothing of them.
ARG DEBIAN_UPDATES=1
COPY scripts/lib/debian.sh scripts/lib/image-root /build/
RUN /build/image-root /root-filesystem

# --- The programs, as scripts/build-release ships them: the Swift runtime and all packages linked in, stripped.
FROM ${SWIFT_IMAGE} AS programs
WORKDIR /source
COPY scripts/lib/install-packages scripts/lib/
RUN scripts/lib/install-packages libcurl4-openssl-dev libsqlite3-dev libyaml-dev libzstd-dev zlib1g-dev pkg-config binutils g++ python3
COPY . .
ARG PROGRAMS="swarmscale-controller swarmscale-sidecar"
RUN --mount=type=cache,target=/source/.build-release \
    scripts/build-release --strip /programs/usr/bin ${PROGRAMS} \
 && rm -rf /licences && mkdir /licences && cp -r .build-release/checkouts /licences/
COPY --from=root /root-filesystem/etc/os-release /root-filesystem/etc/os-release
COPY --from=root /root-filesystem/var/lib/dpkg/status.d /root-filesystem/var/lib/dpkg/status.d
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE_DATE_EPOCH
RUN scripts/lib/image-sbom --root /root-filesystem --programs /programs/usr/bin --resolved Package.resolved \
      --checkouts /licences/checkouts --version "${VERSION}" --revision "${REVISION}" \
      --swift "$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p')" \
      --zstd "$(pkg-config --modversion libzstd)" --into /programs \
 && if [ -n "${SOURCE_DATE_EPOCH}" ]; then find /programs -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +; fi

FROM scratch
COPY --from=root /root-filesystem/ /
COPY --from=programs /programs/ /
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=https://swarmscale.dev
LABEL org.opencontainers.image.title="swarmscale" \
      org.opencontainers.image.description="Autoscaler for fleets of Claude-powered workers on Kubernetes: controller and sidecar" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/bin HOME=/home/nonroot
# By number: Kubernetes' runAsNonRoot can't tell whether a name is root's.
USER 65532:65532
WORKDIR /
# No ENTRYPOINT: a pod names the program that it wants (`command: [swarmscale-sidecar]`); without a word it is the controller.
CMD ["swarmscale-controller"]
