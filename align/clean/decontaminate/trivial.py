"""Programs that anybody writes: a benchmark problem that one of them solves is not looked for by execution.

Written down by hand, as expressions over the arguments. Which problems they solve is found out by running them.
"""

ONE = """x; len(x); sum(x); max(x); min(x); sorted(x); sorted(x, reverse=True); x[::-1]; list(reversed(x)); set(x);
list(set(x)); sorted(set(x)); len(set(x)); list(dict.fromkeys(x)); str(x); int(x); float(x); bool(x); not x; tuple(x);
list(x); abs(x); -x; x + 1; x - 1; x * 2; x / 2; x // 2; x * x; x ** 3; x ** 0.5; x % 2; x % 2 == 0; x % 2 == 1;
x > 0; x < 0; x >= 0; x[0]; x[-1]; x[1:]; x[:-1]; x.upper(); x.lower(); x.strip(); x.title(); x.capitalize();
x.swapcase(); x.split(); len(x.split()); ''.join(x); ' '.join(x); ', '.join(x); ''.join(sorted(x));
''.join(reversed(x)); x == x[::-1]; x.isdigit(); x.isalpha(); x.replace(' ', ''); ' '.join(x.split());
' '.join(x.split()[::-1]); bin(x); bin(x)[2:]; hex(x); chr(x); ord(x); round(x); sum(map(int, str(x))); len(str(x));
int(str(x)[::-1]); str(x)[::-1]; sum(x) / len(x); max(x) - min(x); max(x, key=len); min(x, key=len);
sorted(x, key=len); [y for y in x if y > 0]; [y * y for y in x]; [y * 2 for y in x]; [y + 1 for y in x];
[y for y in x if y % 2 == 0]; [y for y in x if y % 2]; [-y for y in x]; [str(y) for y in x]; [int(y) for y in x];
[len(y) for y in x]; [y[0] for y in x]; sum(y for y in x if y % 2 == 0); sum(y for y in x if y % 2);
sum(y * y for y in x); list(range(x)); list(range(1, x + 1)); sum(range(x)); x * (x + 1) // 2;
sum(y in 'aeiouAEIOU' for y in x); math.prod(x); math.factorial(x); math.sqrt(x); list(map(list, x)); all(x); any(x);
len(x) == len(set(x)); x == sorted(x); [z for y in x for z in y]; sum(map(len, x)); sum(map(sum, x));
dict(collections.Counter(x)); collections.Counter(x).most_common(1)[0][0]; True; False; None; 0; 1; -1; ''; []; ();
all(x % d for d in range(2, x)) and x > 1; list(x.values()); list(x.keys()); sum(x.values()); len(x) > 0;
len(x) == 0"""
TWO = """x; y; x + y; x - y; y - x; x * y; x / y; x // y; y // x; x % y; x ** y; x == y; x != y; x < y; x > y; x <= y;
x >= y; x % y == 0; max(x, y); min(x, y); abs(x - y); x in y; y in x; y not in x; x[y]; y[x]; x[:y]; x[y:]; x[-y:];
x.count(y); x.index(y); x.find(y); x.split(y); y.join(x); x.join(y); x.replace(y, ''); x.startswith(y); x.endswith(y);
sorted(x) == sorted(y); set(x) == set(y); list(set(x) & set(y)); sorted(set(x) & set(y)); tuple(set(x) & set(y));
list(set(x) | set(y)); sorted(set(x) | set(y)); list(set(x) - set(y)); sorted(x + y); list(zip(x, y));
dict(zip(x, y)); [a + b for a, b in zip(x, y)]; [a - b for a, b in zip(x, y)]; [a * b for a, b in zip(x, y)];
[a for a in x if a in y]; [a for a in x if a not in y]; [a for a in x if a != y]; [a for a in x if a > y];
[a for a in x if a < y]; [a * y for a in x]; [a + y for a in x]; sum(a == y for a in x);
sum(a * b for a, b in zip(x, y)); x and y; x or y; x + [y]; [*x, y]; [y, *x]; {**x, **y}; x * 2 + y * 2; x * y / 2;
x * y * 0.5; 2 * (x + y); x & y; x | y; x ^ y; math.gcd(x, y); math.lcm(x, y); math.comb(x, y); math.pow(x, y);
math.hypot(x, y); (x + y) / 2; x[y - 1]; sorted(x)[:y]; sorted(x)[-y:]; sorted(x)[y - 1]; sorted(x, reverse=True)[:y];
sum(x) > y; sum(x) < y; len(x) == len(y); len(x) > y; [a for a in x if len(a) > y]; [a for a in x if a % y == 0];
x[y:] + x[:y]; x[-y:] + x[:-y]; list(map(x, y)); True; False; [a for a in x if a.startswith(y)];
[a for a in x if y in a]; list(range(x, y)); list(range(x, y + 1)); sum(range(x, y))"""
THREE = """x; y; z; x + y + z; x * y * z; x + y * z; x * y + z; max(x, y, z); min(x, y, z); sorted([x, y, z]);
sum([x, y, z]); (x + y + z) / 3; x == y == z; x < y < z; x <= y <= z; y <= x <= z; x[y:z]; x.replace(y, z);
pow(x, y, z); sorted([x, y, z])[1]; x + y > z and y + z > x and x + z > y; len({x, y, z}); x * y / z; x * y * z / 100;
x + y == z; x[y] + x[z]; list(zip(x, y, z)); sum(x[y:z]); sum(x[y:z + 1]); min(x[y:z]); x[:y] + [z] + x[y:]; True;
False"""
_ARGUMENTS = (("x", ONE), ("x, y", TWO), ("x, y, z", THREE))


def trivial_programs() -> list[str]:
    """One function a program."""
    return [
        f"import collections\nimport math\ndef anybody({arguments}):\n    return {expression.strip()}\n"
        for arguments, expressions in _ARGUMENTS
        for expression in expressions.split(";")
    ]
