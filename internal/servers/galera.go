package servers

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// galeraLibrary is the provider of write sets, where Debian has it.
const galeraLibrary = "/usr/lib/galera/libgalera_smm.so"

// Galera starts a cluster of MariaDBs that all take writes, each of which has what the
// others have answered to. A node that was stopped joins the others again when it is
// started, if they are the cluster still: as any majority is.
func Galera(tb testing.TB, nodes int) []*Server {
	tb.Helper()
	client := program(tb, "mariadb", "mariadb-client")
	for _, name := range []string{"rsync", "lsof", "ss"} { // which wsrep_sst_rsync runs
		program(tb, name, "mariadb-server") // which depends on their packages
	}
	if _, err := os.Stat(galeraLibrary); err != nil {
		tb.Skipf("servers: %s is missing: install the Debian package galera-4", galeraLibrary)
	}

	cluster := make([]*Server, nodes)
	groups := make([]string, nodes) // where the nodes meet each other
	for i := range cluster {
		s := newMariaDB(tb)
		host, port := s.hostPort()
		free := s.freeAddresses(3)
		groups[i] = free[0]
		s.command = append(s.command, "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
			"--wsrep-on=ON", "--wsrep-provider="+galeraLibrary, "--wsrep-cluster-name=servers",
			"--wsrep-node-address="+host, "--wsrep-sst-method=rsync", "--wsrep-sst-receive-address="+free[1],
			"--wsrep-provider-options=gmcast.listen_addr=tcp://"+groups[i]+";ist.recv_addr="+free[2]+";gcache.size=8M")
		s.ready = func() error { // a node that has not joined answers, but to no query
			return s.run(5*time.Second, client, "--no-defaults", "--protocol=tcp", "-h", host, "-P", port,
				"-u", s.User, "--connect-timeout=2", "-e", "SELECT User FROM mysql.global_priv LIMIT 0")
		}
		cluster[i] = s
	}
	for i, s := range cluster {
		join := append(slices.Clone(s.command), "--wsrep-cluster-address=gcomm://"+strings.Join(groups, ","))
		if i == 0 {
			s.installMariaDB()
			s.command = append(s.command, "--wsrep-cluster-address=gcomm://", "--wsrep-new-cluster")
		} else { // it gets all from another
			s.makeDataFolder()
			s.command = join
		}
		s.Start()
		s.command = join
	}
	return cluster
}

func (s *Server) makeDataFolder() {
	s.tb.Helper()
	err := os.Mkdir(s.path("data"), 0o700)
	if err == nil && s.account != nil {
		err = os.Chown(s.path("data"), s.account.uid, s.account.gid)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}
