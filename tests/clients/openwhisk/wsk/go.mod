module clients

go 1.20

require (
	github.com/apache/openwhisk-client-go v0.0.0-20211007130743-38709899040b
	github.com/apache/openwhisk-wskdeploy v0.0.0-20200827195556-535f5a9d3942
	github.com/sciabarracom/openwhisk-cli v1.2.1
	golang.org/x/sys v0.15.0
)
