module clients

go 1.20

require github.com/sciabarracom/openwhisk-cli v1.2.1
