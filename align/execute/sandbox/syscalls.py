"""Numbers of the system calls that the filter knows, by architecture. Which of them are allowed: `seccomp`."""


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (entry.partition("=") for entry in text.split())}


X86_64 = _table("""
read=0 write=1 close=3 lseek=8 pread64=17 pwrite64=18 readv=19 writev=20 preadv=295 pwritev=296 preadv2=327
pwritev2=328 open=2 openat=257 fstat=5 stat=4 lstat=6 newfstatat=262 statx=332 access=21 faccessat=269
faccessat2=439 readlink=89 readlinkat=267 getdents=78 getdents64=217 getcwd=79 chdir=80 fchdir=81 statfs=137
fstatfs=138 umask=95 dup=32 dup2=33 dup3=292 pipe=22 pipe2=293 close_range=436 sendfile=40 copy_file_range=326
flock=73 ftruncate=77 fallocate=285 fsync=74 fdatasync=75 fadvise64=221 getxattr=191 lgetxattr=192 fgetxattr=193
listxattr=194 llistxattr=195 flistxattr=196 poll=7 ppoll=271 select=23 pselect6=270 epoll_create=213
epoll_create1=291 epoll_ctl=233 epoll_wait=232 epoll_pwait=281 epoll_pwait2=441 eventfd=284 eventfd2=290
timerfd_create=283 timerfd_settime=286 timerfd_gettime=287 mmap=9 munmap=11 mprotect=10 mremap=25 brk=12 madvise=28
msync=26 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 rt_sigpending=127 rt_sigtimedwait=128 rt_sigsuspend=130
sigaltstack=131 pause=34 alarm=37 setitimer=38 getitimer=36 nanosleep=35 clock_nanosleep=230 clock_gettime=228
clock_getres=229 gettimeofday=96 time=201 times=100 getpid=39 getppid=110 gettid=186 getpgrp=111 getpgid=121
getsid=124 getuid=102 geteuid=107 getgid=104 getegid=108 getresuid=118 getresgid=120 getgroups=115 uname=63
sysinfo=99 getcpu=309 getrusage=98 getrlimit=97 setrlimit=160 getpriority=140 sched_yield=24 sched_getaffinity=204
sched_getscheduler=145 sched_getparam=143 sched_get_priority_max=146 sched_get_priority_min=147 futex=202
set_robust_list=273 get_robust_list=274 set_tid_address=218 rseq=334 arch_prctl=158 restart_syscall=219
getrandom=318 wait4=61 waitid=247 exit=60 exit_group=231 shutdown=48 recvfrom=45 getsockname=51 getpeername=52
getsockopt=55 clone=56 clone3=435 kill=62 tgkill=234 prlimit64=302 fcntl=72 ioctl=16 prctl=157 socketpair=53
sendto=44 unlink=87 unlinkat=263 mkdir=83 mkdirat=258 rmdir=84 rename=82 renameat=264 renameat2=316 link=86
linkat=265 symlink=88 symlinkat=266 truncate=76 chmod=90 fchmod=91 fchmodat=268 fchmodat2=452 utime=132 utimes=235
futimesat=261 utimensat=280 memfd_create=319 sendmsg=46 recvmsg=47 unshare=272 setns=308 setpgid=109 capset=126
""")

AARCH64 = _table("""
read=63 write=64 close=57 lseek=62 pread64=67 pwrite64=68 readv=65 writev=66 preadv=69 pwritev=70 preadv2=286
pwritev2=287 openat=56 fstat=80 newfstatat=79 statx=291 faccessat=48 faccessat2=439 readlinkat=78 getdents64=61
getcwd=17 chdir=49 fchdir=50 statfs=43 fstatfs=44 umask=166 dup=23 dup3=24 pipe2=59 close_range=436 sendfile=71
copy_file_range=285 flock=32 ftruncate=46 fallocate=47 fsync=82 fdatasync=83 fadvise64=223 getxattr=8 lgetxattr=9
fgetxattr=10 listxattr=11 llistxattr=12 flistxattr=13 ppoll=73 pselect6=72 epoll_create1=20 epoll_ctl=21
epoll_pwait=22 epoll_pwait2=441 eventfd2=19 timerfd_create=85 timerfd_settime=86 timerfd_gettime=87 mmap=222
munmap=215 mprotect=226 mremap=216 brk=214 madvise=233 msync=227 rt_sigaction=134 rt_sigprocmask=135
rt_sigreturn=139 rt_sigpending=136 rt_sigtimedwait=137 rt_sigsuspend=133 sigaltstack=132 setitimer=103 getitimer=102
nanosleep=101 clock_nanosleep=115 clock_gettime=113 clock_getres=114 gettimeofday=169 times=153 getpid=172
getppid=173 gettid=178 getpgid=155 getsid=156 getuid=174 geteuid=175 getgid=176 getegid=177 getresuid=148
getresgid=150 getgroups=158 uname=160 sysinfo=179 getcpu=168 getrusage=165 getrlimit=163 setrlimit=164
getpriority=141 sched_yield=124 sched_getaffinity=123 sched_getscheduler=120 sched_getparam=121
sched_get_priority_max=125 sched_get_priority_min=126 futex=98 set_robust_list=99 get_robust_list=100
set_tid_address=96 rseq=293 restart_syscall=128 getrandom=278 wait4=260 waitid=95 exit=93 exit_group=94 shutdown=210
recvfrom=207 getsockname=204 getpeername=205 getsockopt=209 clone=220 clone3=435 kill=129 tgkill=131 prlimit64=261
fcntl=25 ioctl=29 prctl=167 socketpair=199 sendto=206 unlinkat=35 mkdirat=34 renameat=38 renameat2=276 linkat=37
symlinkat=36 truncate=45 fchmod=52 fchmodat=53 fchmodat2=452 utimensat=88 memfd_create=279 sendmsg=211 recvmsg=212
unshare=97 setns=268 setpgid=154 capset=91
""")
