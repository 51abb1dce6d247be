# The static binary on an empty image: no shell, no package manager, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build && mkdir /state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/tocsin /tocsin
# The state directory must belong to the user that the process runs as.
COPY --from=build --chown=65534:65534 /state /data
USER 65534:65534
WORKDIR /
VOLUME /data
EXPOSE 9093
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["/tocsin", "health"]
ENTRYPOINT ["/tocsin"]
CMD ["serve", "--config.file=/etc/tocsin/tocsin.yml", "--storage.path=/data"]
