//go:build tools

// What scripts/install.sh builds: wskdeploy, and wsk as a committer of the project keeps it with a version.
package clients

import (
	_ "github.com/apache/openwhisk-wskdeploy"
	_ "github.com/sciabarracom/openwhisk-cli"
)
