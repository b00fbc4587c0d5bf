import type { Position } from "./geo.ts";

/**
 * Where people of a country live, and where data centres stand: whole and tenth degrees, since a tenth of a degree is a
 * tenth of a millisecond. Code, latitude, longitude.
 */

/**
 * All of ISO 3166-1, and XK, which geolocation uses for Kosovo. Where most people live far from the middle of the land
 * (Australia, Canada, Russia, …), it is the middle of the people.
 */
const COUNTRIES_TEXT = `
AD 42.5 1.5, AE 24.9 55, AF 34.5 68, AG 17.1 -61.8, AI 18.2 -63.1, AL 41.2 19.9, AM 40.2 44.6, AO -10.5 14.7,
AQ -77.8 166.7, AR -33.5 -61, AS -14.3 -170.7, AT 47.9 15, AU -32.5 146, AW 12.5 -70, AX 60.2 20,
AZ 40.4 48.5, BA 44.2 17.9, BB 13.1 -59.6, BD 23.8 90.3, BE 50.9 4.4, BF 12.4 -1.5, BG 42.7 24.5,
BH 26.2 50.5, BI -3.3 29.8, BJ 7 2.4, BL 17.9 -62.8, BM 32.3 -64.8, BN 4.9 114.9, BO -17.2 -65.8,
BQ 12.2 -68.3, BR -18 -46, BS 25 -77.4, BT 27.3 89.9, BV -54.4 3.4, BW -23.4 26.3, BY 53.6 27.8,
BZ 17.4 -88.5, CA 45.5 -81, CC -12.2 96.8, CD -4 22, CF 5 18.6, CG -4.2 14.6, CH 47.1 8, CI 6.6 -5.2,
CK -21.2 -159.8, CL -34 -71, CM 5 11.3, CN 32.5 113, CO 5.5 -74.6, CR 9.9 -84.1, CU 22.2 -79.9, CV 15 -23.6,
CW 12.2 -69, CX -10.5 105.6, CY 35.1 33.3, CZ 49.9 15.3, DE 51 9.9, DJ 11.6 43.1, DK 55.7 11, DM 15.4 -61.4,
DO 18.7 -70.2, DZ 35.9 3.3, EC -1.3 -79.2, EE 59.1 25.3, EG 30.2 31.2, EH 26.5 -13, ER 15.3 38.8, ES 40 -3.5,
ET 9.2 39.2, FI 61.3 24.7, FJ -17.9 178.2, FK -51.7 -57.9, FM 6.9 158.2, FO 62 -6.8, FR 47.2 2.5, GA 0.2 9.9,
GB 52.5 -1.5, GD 12.1 -61.7, GE 41.9 43.8, GF 4.9 -52.5, GG 49.5 -2.6, GH 6.5 -1.1, GI 36.1 -5.3,
GL 64.2 -51.7, GM 13.4 -16.2, GN 10.2 -11.6, GP 16.2 -61.5, GQ 2.3 9.9, GR 38.6 23.2, GS -54.3 -36.5,
GT 14.8 -90.8, GU 13.5 144.8, GW 12 -15.3, GY 6.7 -58.1, HK 22.3 114.2, HM -53.1 73.5, HN 14.8 -87.3,
HR 45.4 16, HT 18.9 -72.4, HU 47.3 19.3, ID -5.8 109.5, IE 53.2 -7, IL 32 34.9, IM 54.2 -4.5, IN 22.5 80,
IO -7.3 72.4, IQ 33.2 44.3, IR 34.5 51.2, IS 64.3 -21.6, IT 42.9 12, JE 49.2 -2.1, JM 18.1 -77, JO 32 36,
JP 35.7 137.5, KE -0.6 36.6, KG 41.7 73.6, KH 11.8 105, KI 1.4 173, KM -11.9 43.5, KN 17.3 -62.7,
KP 39.3 126.3, KR 36.6 127.6, KW 29.3 48, KY 19.3 -81.3, KZ 46.5 71, LA 17.8 103.4, LB 33.9 35.6, LC 13.9 -61,
LI 47.1 9.5, LK 7.2 80.4, LR 6.5 -10.3, LS -29.5 27.8, LT 55.2 24.2, LU 49.7 6.1, LV 56.8 24.3, LY 32.3 15.5,
MA 33.2 -6.7, MC 43.7 7.4, MD 47.1 28.6, ME 42.5 19.2, MF 18.1 -63, MG -18.9 47, MH 7.1 171.3, MK 41.8 21.5,
ML 13 -7, MM 19.5 96, MN 47.8 106, MO 22.2 113.5, MP 15.2 145.8, MQ 14.6 -61, MR 17.9 -14, MS 16.7 -62.2,
MT 35.9 14.4, MU -20.2 57.5, MV 4.2 73.5, MW -14 34.6, MX 20.5 -100.5, MY 3.6 102.5, MZ -17.5 36.5,
NA -20.5 16.5, NC -22.2 166.4, NE 13.7 6, NF -29 167.9, NG 8.8 7, NI 12.4 -86.2, NL 52.2 5.1, NO 60.6 9.7,
NP 27.5 84.5, NR -0.5 166.9, NU -19.1 -169.9, NZ -39 175, OM 23.2 57.5, PA 8.9 -80, PE -10.8 -76.2,
PF -17.6 -149.5, PG -6.3 146, PH 12.8 121.9, PK 30.5 71.3, PL 51.8 19.4, PM 46.8 -56.2, PN -25.1 -130.1,
PR 18.3 -66.4, PS 31.8 34.8, PT 39.8 -8.6, PW 7.4 134.5, PY -25.3 -56.8, QA 25.3 51.4, RE -21.1 55.5,
RO 45.6 25.5, RS 44.4 20.7, RU 55.8 49, RW -2 30, SA 24 43.5, SB -9 160.2, SC -4.6 55.5, SD 14.8 32.5,
SE 58.9 15.7, SG 1.4 103.8, SH -15.9 -5.7, SI 46.1 14.8, SJ 78.2 15.6, SK 48.6 19, SL 8.4 -12.2, SM 43.9 12.5,
SN 14.6 -16.2, SO 3.7 45.2, SR 5.8 -55.3, SS 7 30.5, ST 0.3 6.7, SV 13.7 -89.1, SX 18 -63.1, SY 34.9 37,
SZ -26.4 31.4, TC 21.8 -72.2, TD 11.5 16.5, TF -49.4 70.2, TG 7.4 1.1, TH 14.8 101, TJ 38.6 69.3,
TK -9 -171.9, TL -8.7 125.8, TM 38.4 59.5, TN 35.7 10.1, TO -21.1 -175.2, TR 39.4 32.5, TT 10.5 -61.3,
TV -8.5 179.2, TW 24.2 120.8, TZ -5.5 35.5, UA 49 31.8, UG 1 32.3, UM 19.3 166.6, US 37.4 -92.4, UY -34.5 -56,
UZ 40.3 67.5, VA 41.9 12.5, VC 13.2 -61.2, VE 10 -67.5, VG 18.4 -64.6, VI 18 -64.8, VN 16.2 106.6,
VU -16.6 167.7, WF -13.8 -177.2, WS -13.8 -171.9, XK 42.6 20.9, YE 14.8 44.5, YT -12.8 45.2, ZA -28.2 28.5,
ZM -13.4 28.4, ZW -18.9 30.6`;

/** The larger data centres of the network, by the airport code that `request.cf.colo` has. */
const COLOS_TEXT = `
ACC 5.6 -0.2, ADD 9 38.8, ADL -34.9 138.6, AKL -36.8 174.8, ALG 36.8 3, AMM 32 35.9, AMS 52.3 4.8,
ANC 61.2 -149.9, ARN 59.4 17.9, ASU -25.3 -57.5, ATH 38 23.7, ATL 33.7 -84.4, AUS 30.2 -97.7, BAH 26.2 50.6,
BCN 41.4 2.2, BEG 44.8 20.4, BER 52.4 13.5, BEY 33.9 35.5, BGW 33.3 44.2, BKK 13.8 100.5, BLR 13 77.6,
BNA 36.1 -86.7, BNE -27.4 153.1, BOG 4.7 -74.1, BOM 19.1 72.9, BOS 42.4 -71, BRU 50.9 4.5, BSB -15.9 -47.9,
BTS 48.2 17.1, BUD 47.5 19.1, BUF 42.9 -78.7, CAI 30.1 31.4, CAN 23.2 113.3, CBR -35.3 149.2, CCU 22.6 88.4,
CDG 49 2.5, CEB 10.3 124, CGK -6.1 106.7, CGP 22.3 91.8, CHC -43.5 172.5, CKG 29.7 106.6, CLE 41.4 -81.8,
CLT 35.2 -80.9, CMB 7.2 79.9, CMH 40 -82.9, CMN 33.4 -7.6, CNF -19.6 -44, CPH 55.6 12.7, CPT -34 18.6,
CTU 30.6 104, CWB -25.5 -49.2, DAC 23.8 90.4, DAR -6.9 39.2, DEL 28.6 77.1, DEN 39.8 -104.7, DFW 32.9 -97,
DKR 14.7 -17.5, DME 55.4 37.9, DOH 25.3 51.6, DTW 42.2 -83.4, DUB 53.4 -6.3, DUR -29.6 31.1, DUS 51.3 6.8,
DXB 25.3 55.4, EDI 55.9 -3.4, EVN 40.1 44.4, EWR 40.7 -74.2, EZE -34.8 -58.5, FCO 41.8 12.3, FIH -4.4 15.4,
FLN -27.7 -48.6, FOR -3.8 -38.5, FRA 50 8.6, FUK 33.6 130.5, GDL 20.5 -103.3, GIG -22.8 -43.2,
GRU -23.4 -46.5, GUA 14.6 -90.5, GVA 46.2 6.1, GYD 40.5 50, HAM 53.6 10, HAN 21.2 105.8, HEL 60.3 25,
HGH 30.2 120.4, HKG 22.3 113.9, HNL 21.3 -157.9, HRE -17.9 31.1, HYD 17.2 78.4, IAD 38.9 -77.5, IAH 30 -95.3,
ICN 37.5 126.4, IND 39.7 -86.3, ISB 33.6 72.8, IST 41.3 28.7, ITM 34.8 135.4, JAX 30.5 -81.7, JED 21.7 39.2,
JHB 1.6 103.7, JIB 11.5 43.2, JNB -26.1 28.2, KBP 50.3 30.9, KEF 64 -22.6, KGL -2 30.1, KHH 22.6 120.3,
KHI 24.9 67.2, KIV 46.9 28.9, KIX 34.4 135.2, KTM 27.7 85.4, KUL 2.7 101.7, KWI 29.2 48, LAD -8.9 13.2,
LAS 36.1 -115.2, LAX 33.9 -118.4, LED 59.8 30.3, LHE 31.5 74.4, LHR 51.5 -0.5, LIM -12 -77.1, LIS 38.8 -9.1,
LOS 6.6 3.3, LPB -16.5 -68.2, LUX 49.6 6.2, LYS 45.7 5.1, MAA 13 80.2, MAD 40.5 -3.6, MAN 53.4 -2.3,
MBA -4 39.6, MCI 39.3 -94.7, MCT 23.6 58.3, MDE 6.2 -75.4, MEL -37.7 144.8, MEM 35 -90, MEX 19.4 -99.1,
MFM 22.1 113.6, MIA 25.8 -80.3, MLE 4.2 73.5, MNL 14.5 121, MPM -25.9 32.6, MRS 43.4 5.2, MSP 44.9 -93.2,
MTY 25.8 -100.1, MUC 48.4 11.8, MXP 45.6 8.7, NAG 21.1 79, NBO -1.3 36.9, NOU -22 166.2, NRT 35.8 140.4,
OKA 26.2 127.6, OMA 41.3 -95.9, ORD 42 -87.9, ORF 36.9 -76.2, OSL 60.2 11.1, OTP 44.6 26.1, PBH 27.4 89.4,
PDX 45.6 -122.6, PER -31.9 116, PHL 39.9 -75.2, PHX 33.4 -112, PIT 40.5 -80.2, PMO 38.2 13.1, PNH 11.5 104.8,
POA -30 -51.2, PRG 50.1 14.3, PTY 9.1 -79.4, QRO 20.6 -100.2, RIC 37.5 -77.3, RIX 56.9 24, RUH 25 46.7,
RUN -20.9 55.5, SAN 32.7 -117.2, SCL -33.4 -70.8, SDQ 18.4 -69.7, SEA 47.4 -122.3, SGN 10.8 106.7,
SIN 1.4 104, SJC 37.4 -121.9, SJO 10 -84.2, SKG 40.5 23, SKP 42 21.6, SLC 40.8 -112, SMF 38.7 -121.6,
SOF 42.7 23.4, SSA -12.9 -38.3, STL 38.7 -90.4, STR 48.7 9.2, SVX 56.7 60.8, SYD -33.9 151.2, TBS 41.7 45,
TIA 41.4 19.7, TLH 30.4 -84.4, TLL 59.4 24.8, TLV 32 34.9, TNR -18.8 47.5, TPA 28 -82.5, TPE 25.1 121.2,
TUN 36.9 10.2, UIO -0.1 -78.4, ULN 47.8 106.8, VIE 48.1 16.6, VNO 54.6 25.3, WAW 52.2 21, WDH -22.5 17.5,
YHZ 44.9 -63.5, YOW 45.3 -75.7, YUL 45.5 -73.7, YVR 49.2 -123.2, YWG 49.9 -97.2, YXE 52.2 -106.7,
YYC 51.1 -114, YYZ 43.7 -79.6, ZAG 45.7 16.1, ZRH 47.5 8.5`;

export const COUNTRIES: ReadonlyMap<string, Position> = placesOf(COUNTRIES_TEXT);
export const COLOS: ReadonlyMap<string, Position> = placesOf(COLOS_TEXT);

/** Throws on a line that is not one: a table with a hole must not start. */
function placesOf(text: string): Map<string, Position> {
  const places = new Map<string, Position>();
  for (const entry of text.trim().split(/,\s*/)) {
    const [code = "", latitude, longitude, ...more] = entry.split(" ");
    const position = { latitude: Number(latitude), longitude: Number(longitude) };
    const valid = Math.abs(position.latitude) <= 90 && Math.abs(position.longitude) <= 180;
    if (!/^[A-Z]{2,3}$/.test(code) || !valid || more.length > 0) throw new Error(`places: ${entry}`);
    if (places.has(code)) throw new Error(`places: ${code} twice`);
    places.set(code, position);
  }
  return places;
}
